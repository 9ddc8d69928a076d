"""glyph-clip's two towers, in open_clip's terms."""

from __future__ import annotations

from typing import Any

from torch import nn

from zsrobust.models.glyph_clip.tokens import CONTEXT_LENGTH, Vocabulary

CONFIG: dict[str, Any] = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {"context_length": CONTEXT_LENGTH, "width": 128, "heads": 2, "layers": 2},
}
"""``model_cfg`` of open_clip but for ``vocab_size``, which the vocabulary decides.

The image tower is CLIP's ResNet, attention pooling included, with one block a stage and a quarter
of RN50's width: 1.4 M weights, 18 M multiply-adds an image. The world's images of 32 x 32 are
enlarged to its 64 x 64 inside the model, as CLIP is shown CIFAR's, so attacks act on 32 x 32.
"""


def build(vocabulary: Vocabulary) -> nn.Module:
    """The model with random weights."""
    from open_clip import CLIP

    text = {**CONFIG["text_cfg"], "vocab_size": vocabulary.size}
    model: nn.Module = CLIP(CONFIG["embed_dim"], CONFIG["vision_cfg"], text)
    return model
