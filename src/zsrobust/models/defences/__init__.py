"""Defences at test time: ``WORD(MODEL, KEY=VALUE)`` is MODEL behind the defence in ``WORD.py``."""
