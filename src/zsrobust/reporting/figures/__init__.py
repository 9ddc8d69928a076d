"""Figures, each a function from results on disk to a matplotlib ``Figure``; nothing is computed."""
