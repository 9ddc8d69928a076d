"""The published sets: a table of them, and how each one's own files are read."""
