"""``glyph-clip``: a small CLIP pre-trained on the glyph world, shipped with the package."""

from zsrobust.models.glyph_clip.loading import load

__all__ = ["load"]
