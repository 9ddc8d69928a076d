"""glyph-clip's two towers, in open_clip's terms."""

from __future__ import annotations

from typing import Any

from torch import nn

from zsrobust.models.glyph_clip.tokens import CONTEXT_LENGTH, Vocabulary

CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "convnext_atto_ols",
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": {"context_length": CONTEXT_LENGTH, "width": 128, "heads": 2, "layers": 2},
}
"""``model_cfg`` of open_clip but for ``vocab_size``, which the vocabulary decides.

The image tower is ConvNeXt Atto (3.4 M weights, 12 M multiply-adds an image of 32 x 32): it has
LayerNorm and no BatchNorm, so an image's features depend on that image alone in training too.
"""


def build(vocabulary: Vocabulary) -> nn.Module:
    """The model with random weights."""
    from open_clip import CLIP

    text = {**CONFIG["text_cfg"], "vocab_size": vocabulary.size}
    model: nn.Module = CLIP(CONFIG["embed_dim"], CONFIG["vision_cfg"], text)
    return model
