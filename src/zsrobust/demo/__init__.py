"""The demonstration: three methods fine-tuned live and evaluated beside the original."""
