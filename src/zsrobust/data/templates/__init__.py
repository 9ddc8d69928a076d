"""Prompts of the published sets, one file a preset: set to templates, each with one ``{}``."""
