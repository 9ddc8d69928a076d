"""A run once more, from its own files, and what of it came out otherwise."""
