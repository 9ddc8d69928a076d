"""The demonstration: three methods fine-tuned live and evaluated next to the original."""
