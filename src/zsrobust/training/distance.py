"""How far fine-tuning moved the weights: the y-axis of PMG-AFT's Figure 2."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zsrobust.models.adapters.low_rank import merged
from zsrobust.models.adapters.visual_prompt import tower_of


@torch.no_grad()
def relative_l2_distance(tuned: nn.Module, original: nn.Module) -> float:
    """``||theta - theta_0|| / ||theta_0||`` over all parameters, accumulated in float64.

    theta are the weights that an image meets: with LoRA the sums, not the fixed weights. A visual
    prompt is no weight of the tower and leaves it where it was: 0.

    Args:
        tuned: an encoder that was ``original`` before training, with any adapter.
        original: a plain encoder.
    """
    weights = merged(tower_of(tuned))
    moved = size = 0.0
    for name, theirs in original.named_parameters():
        a, b = _double(weights[name]), _double(theirs)
        moved += float((a - b).square().sum())
        size += float(b.square().sum())
    return math.sqrt(moved / size)


def _double(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double()
