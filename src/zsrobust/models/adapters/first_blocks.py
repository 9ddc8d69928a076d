"""The adapter ``first_blocks``: the beginning of the image tower, up to its first n blocks.

After R-Adapt ("What makes VLMs robust? Towards reconciling robustness and accuracy in
vision-language models", arXiv 2603.12799), which adapts the input filter and the first attention
block of a ViT and leaves the rest as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.models.adapters.base import AdapterKind, register_adapter, train_only
from zsrobust.models.adapters.blocks import PROJECTION
from zsrobust.models.tower_blocks import blocks_of
from zsrobust.utils.lazy import nn
from zsrobust.utils.validation import require


@register_adapter("first_blocks")
@dataclass(frozen=True)
class FirstBlocks(AdapterKind):
    """The first blocks of the encoder and the layers before them; the rest is frozen.

    Before the blocks come, in a ViT, the patch embedding, class token, positions and ``ln_pre``; in
    a ResNet or an EfficientNet the stem. Blocks are those of the adapter ``blocks``, which trains
    exactly what the first n leave out.

    Attributes:
        blocks: number of blocks, 0 or more; 0 for what comes before them alone.
    """

    blocks: int = 1

    def __post_init__(self) -> None:
        require(self.blocks >= 0, "adapter.blocks", self.blocks, "0 or more")

    @property
    def label(self) -> str:
        """``first_blocks(1)``."""
        return f"first_blocks({self.blocks})"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder itself, its end fixed.

        Raises:
            RequestError: if the tower has not one block more, or none that are known here.
        """
        blocks = list(blocks_of(encoder, name))
        require(
            self.blocks < len(blocks),
            "adapter.blocks",
            self.blocks,
            f"below {len(blocks)}, the number of blocks of model {name}: all are adapter.kind full",
        )
        names = [name for name, _ in encoder.named_parameters()]
        following = f"{blocks[self.blocks]}."
        end = next(at for at, name in enumerate(names) if name.startswith(following))
        train_only(encoder, {*names[:end]} - {PROJECTION})
        return encoder
