"""The adapter ``lora``: a trained change of low rank added to each fixed weight matrix.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from zsrobust.models.adapters.base import AdapterKind, generator, register_adapter, train_only
from zsrobust.models.tower_blocks import blocks_of
from zsrobust.utils.lazy import nn
from zsrobust.utils.validation import require


@register_adapter("lora")
@dataclass(frozen=True)
class LoRA(AdapterKind):
    """Low-rank updates ``W + (alpha / rank) B A`` of all weight matrices W in the blocks.

    These are the in- and out-projections of attention and the linear layers of the MLP; in
    convolutional towers the 1 x 1 convolutions of one group, which are linear layers of a pixel's
    channels. An in-projection that holds queries, keys and values in one matrix gets one change.
    Biases, norms, wider convolutions, and what lies outside the blocks (patch embedding, stem,
    projection, attention pool, head) stay as they are.

    A (rank, in) starts uniform within 1 / sqrt(in), as the released code has it, and B (out, rank)
    at zero, so that training starts from the original. Saved models hold the sum as an ordinary
    weight.

    Attributes:
        rank: rank of the update, 1 or more.
        alpha: scaling of the update, above 0, divided by the rank.
    """

    rank: int = 8
    alpha: float = 8.0

    def __post_init__(self) -> None:
        require(self.rank >= 1, "adapter.rank", self.rank, "1 or more")
        finite = 0 < self.alpha < float("inf")
        require(finite, "adapter.alpha", self.alpha, "above 0 and finite")

    @property
    def label(self) -> str:
        """``lora(rank=8)``, or ``lora(rank=8, alpha=16.0)``."""
        departs = "" if self.alpha == LoRA.alpha else f", alpha={float(self.alpha)}"
        return f"lora(rank={self.rank}{departs})"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder itself, fixed, with a trained A and B at each matrix.

        Raises:
            RequestError: if the tower's blocks are not known here.
        """
        from torch.nn.utils import parametrize

        from zsrobust.models.low_rank import LowRank

        found = list(_matrices(blocks_of(encoder, name).values()))
        train_only(encoder, ())
        random = generator(seed)
        for module, name in found:
            weight = module.get_parameter(name)
            change = LowRank(weight, self.rank, self.alpha / self.rank, random)
            parametrize.register_parametrization(module, name, change)
        return encoder


def _matrices(blocks: Iterable[nn.Module]) -> Iterator[tuple[nn.Module, str]]:
    """Each module with a weight matrix, and that weight's name."""
    for block in blocks:
        for module in block.modules():
            if "in_proj_weight" in dict(module.named_parameters(recurse=False)):
                yield module, "in_proj_weight"
            if isinstance(module, nn.Linear) or _is_pointwise(module):
                yield module, "weight"


def _is_pointwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1} and module.groups == 1
