"""``zsrobust doctor``: what is installed and at hand, and what is wrong."""
