"""The adapter ``blocks``: the end of the image tower, from its last n blocks on."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.models.adapters.base import AdapterKind, register_adapter, train_only
from zsrobust.models.tower_blocks import blocks_of
from zsrobust.utils.lazy import nn
from zsrobust.utils.validation import require

# A ViT of open_clip holds its projection as a parameter of its own, before all modules.
PROJECTION = "proj"


@register_adapter("blocks")
@dataclass(frozen=True)
class Blocks(AdapterKind):
    """The last blocks of the encoder and the layers after them.

    A block is a residual block of the tower, never a slice of the list of parameters. After the
    blocks come:

    - in a ViT of open_clip, an attention pool where there is one, ``ln_post`` and ``proj``;
    - in a ResNet of open_clip (``glyph-clip``'s too), ``attnpool``;
    - in a tower of timm, its last norm, its pool and head, and open_clip's ``head``;
    - in ``photo-lite``'s EfficientNet, ``conv_head`` and ``bn2``.

    What lies between two of them (the downsampling of ConvNeXt's and Swin's stages) is trained
    where the block before it is. Fixed is what comes before: patch embedding or stem, class token,
    positions, ``ln_pre`` and the first blocks.

    Attributes:
        blocks: number of blocks, 1 or more.
    """

    blocks: int = 1

    def __post_init__(self) -> None:
        require(self.blocks >= 1, "adapter.blocks", self.blocks, "1 or more")

    @property
    def label(self) -> str:
        """``blocks(2)``."""
        return f"blocks({self.blocks})"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder itself, its beginning fixed.

        Raises:
            RequestError: if the tower has fewer blocks, or none that are known here.
        """
        blocks = list(blocks_of(encoder, name))
        require(
            self.blocks <= len(blocks),
            "adapter.blocks",
            self.blocks,
            f"at most {len(blocks)}, the number of blocks of model {name}",
        )
        first = blocks[-self.blocks]
        # Towers register their parts in the order in which images pass them.
        names = [name for name, _ in encoder.named_parameters()]
        start = next(at for at, name in enumerate(names) if name.startswith(f"{first}."))
        train_only(encoder, {*names[start:], PROJECTION})
        return encoder
