"""Which parameters of an image encoder are fine-tuned: all, some, or new ones added to it."""
