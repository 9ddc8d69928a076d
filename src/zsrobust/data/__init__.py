"""Data sets on disk: reading, splitting, naming, and batches for a model."""
