"""The blocks of an image tower, in the order in which an image passes them."""

from __future__ import annotations

import re

from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import nn

# What open_clip puts before the names of timm's towers, and photo-lite before those of its own.
WRAPPER = r"(trunk\.|tower\.)?"
# A tower's blocks have names of the first of these that any of its modules has.
PATTERNS = (
    r"transformer\.resblocks\.\d+",  # ViTs of open_clip
    r"layer[1-4]\.\d+",  # ResNets of open_clip (glyph-clip's too) and of timm
    r"(stages|layers)\.\d+\.blocks\.\d+",  # ConvNeXt, FastViT and Swin of timm
    r"blocks\.\d+\.\d+",  # EfficientNet of timm (photo-lite's)
    r"blocks\.\d+",  # ViTs of timm
)


def find_blocks(encoder: nn.Module) -> dict[str, nn.Module]:
    """The blocks of ``encoder`` by name, the first in the tower first; may be none."""
    for pattern in PATTERNS:
        found = {
            name: module
            for name, module in encoder.named_modules()
            if re.fullmatch(WRAPPER + pattern, name)
        }
        if found:
            return found
    return {}


def blocks_of(encoder: nn.Module, name: str) -> dict[str, nn.Module]:
    """As :func:`find_blocks`, of the image tower of model ``name``.

    Raises:
        RequestError: if there are none.
    """
    if found := find_blocks(encoder):
        return found
    raise RequestError(
        f"model {name} has an image tower without blocks that are known here "
        f"({type(encoder).__name__}): choose adapter.kind full"
    )
