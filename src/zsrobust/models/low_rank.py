"""The trained part of ``lora``: a change of low rank, and how it is merged into its weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
