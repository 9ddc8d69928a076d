"""The adapter ``lora``: a trained change of low rank beside each fixed weight matrix.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from zsrobust.checks import require
from zsrobust.models.adapters.base import AdapterKind, generator, train_only
from zsrobust.models.adapters.tower_blocks import blocks_of

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


@dataclass(frozen=True)
class LoRA(AdapterKind):
    """``W + (alpha / rank) B A`` for every weight matrix W in the tower's blocks.

    These are the in- and out-projections of attention and the linear layers of the MLP; in
    convolutional towers the 1 x 1 convolutions of one group, which are linear layers of a pixel's
    channels. An in-projection that holds queries, keys and values in one matrix gets one change.
    Biases, norms, wider convolutions, and what lies outside the blocks (patch embedding, stem,
    projection, attention pool, head) stay as they are.

    A (rank, in) starts uniform within 1 / sqrt(in), as the released code has it, and B (out, rank)
    at zero, so that training starts from the original. Saved models hold the sum as an ordinary
    weight.

    Attributes:
        rank: of the change, 1 or more; at a matrix's smaller side, any change is possible.
        alpha: scale of the change, above 0. As in the paper it stays when the rank is varied.
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

    def apply(self, model: CLIPModel, seed: int) -> nn.Module:
        """The encoder itself, fixed, with a trained A and B at each matrix.

        Raises:
            RequestError: if the tower's blocks are not known here.
        """
        found = list(_matrices(blocks_of(model).values()))
        train_only(model.encoder, ())
        random = generator(seed)
        for module, name in found:
            weight = module.get_parameter(name)
            change = LowRank(weight, self.rank, self.alpha / self.rank, random)
            parametrize.register_parametrization(module, name, change)
        return model.encoder


class LowRank(nn.Module):
    """A weight (out, in, ...) to itself plus ``scale * up @ down``.

    Args:
        weight: of the shape and on the device of those to come.
        rank: of the change.
        scale: of the change.
        random: draws ``down`` (rank, in); ``up`` (out, rank) is zero.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, random: torch.Generator) -> None:
        super().__init__()
        inputs = weight[0].numel()
        down = (2 * torch.rand(rank, inputs, generator=random) - 1) / inputs**0.5
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros(len(weight), rank, device=weight.device))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight; in fp32 even under autocast, for it is merged in fp32."""
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.scale * (self.up @ self.down).view_as(weight)


@torch.no_grad()
def merged(encoder: nn.Module) -> dict[str, Tensor]:
    """The tensors of an encoder by name, each weight with its low-rank change added.

    Names are those of the encoder without LoRA; of an encoder that has none this is its
    ``state_dict``.
    """
    tensors: dict[str, Tensor] = encoder.state_dict()
    for prefix, module in encoder.named_modules():
        for name, chain in getattr(module, "parametrizations", {}).items():
            if isinstance(chain[0], LowRank):
                for key in ("original", "0.down", "0.up"):
                    del tensors[f"{prefix}.parametrizations.{name}.{key}"]
                tensors[f"{prefix}.{name}"] = getattr(module, name)
    return tensors


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
