"""How far fine-tuning moved the weights: the y-axis of PMG-AFT's Figure 2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


@torch.no_grad()
def relative_l2_distance(tuned: nn.Module, original: nn.Module) -> float:
    """``||theta - theta_0|| / ||theta_0||`` over all parameters, accumulated in float64."""
    moved = size = 0.0
    for ours, theirs in zip(tuned.parameters(), original.parameters(), strict=True):
        a, b = _double(ours), _double(theirs)
        moved += float((a - b).square().sum())
        size += float(b.square().sum())
    return math.sqrt(moved / size)


def _double(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double()
