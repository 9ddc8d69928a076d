"""Searches and studies of ours: plans on top of ``zsrobust.sweep``, outside of the package."""
