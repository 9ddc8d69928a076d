"""Fine-tuned models in the formats of other libraries, each checked before it is handed over."""
