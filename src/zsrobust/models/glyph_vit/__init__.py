"""``glyph-vit``: a small ViT in the embedding space of ``glyph-clip``, with its text side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zsrobust.models import glyph_clip
from zsrobust.models.clip import CLIPModel
from zsrobust.utils.errors import RequestError

WEIGHTS = Path(__file__).with_name("glyph_vit.safetensors")

CONFIG: dict[str, Any] = {
    **glyph_clip.CONFIG,
    "vision_cfg": {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
}
"""``model_cfg`` of open_clip but for ``vocab_size``, as ``glyph_clip.CONFIG``.

The image tower is CLIP's ViT with a class token and 8 x 8 patch tokens, each of which covers 4 x 4
pixels of a glyph image.
"""


def load(name: str) -> CLIPModel:
    """Load ``glyph-vit``: its weights are stored in fp16 and computed with in fp32.

    Raises:
        RequestError: if ``name`` says more than ``glyph-vit``, or the weights are damaged.
    """
    if name != "glyph-vit":
        raise RequestError(f"model {name!r} is unknown: the embedded ViT is glyph-vit")
    return glyph_clip.load_with_tower(name, CONFIG, WEIGHTS)
