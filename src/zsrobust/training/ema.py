"""An exponential moving average of the weights over training steps."""

from __future__ import annotations

import copy

import torch
from torch import nn

from zsrobust.training.sharding import put_together


class Average:
    """After k updates, ``decay`` of the average after k - 1 and the rest of the k-th weights.

    The average before the first is the encoder as it is given, so a short run stays near to where
    it began. Trained parameters are averaged, LoRA's factors each for itself, and so are the
    statistics of a BatchNorm that is in training. (torch's ``AveragedModel`` starts at the first
    update instead, and would round fixed parameters and counters anew at each.)

    Args:
        encoder: in training; it is copied.
        decay: between 0 and 1.
    """

    def __init__(self, encoder: nn.Module, decay: float) -> None:
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Take in the weights of ``encoder`` after a step."""
        for ours, theirs in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            if theirs.requires_grad:
                ours.lerp_(put_together(theirs), 1 - self.decay)
        for mean, now in zip(self.encoder.buffers(), encoder.buffers(), strict=True):
            if now.is_floating_point():
                mean.lerp_(now, 1 - self.decay)
            else:
                mean.copy_(now)
