"""Fine-tuning: the step, the loop around it, checkpoints, and model selection."""
