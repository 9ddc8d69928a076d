"""Comparison: of models, of seeds, of evaluations, and with published numbers."""
