"""What is measured on: an architecture with random weights, random images, made-up prompts."""

from __future__ import annotations

import copy
import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load

EPS = 1 / 255
ATTACK_STEPS = 2


@dataclass(frozen=True)
class Setting:
    """A fine-tuning step's sizes.

    Attributes:
        model: a name that the package loads, such as ``ViT-B-32/random``.
        batch: images a step.
        prompts: classes, one prompt each.
        device: ``cpu`` or ``cuda``.
        precision: ``fp32``; ``fp16`` (autocast, the authors' way alone) or ``bf16``, of the update.
        attack_precision: of our attack, ``fp32`` or ``bf16``.
        compiled: whether our towers are.
        attack_steps: of PGD.
    """

    model: str
    batch: int
    prompts: int
    device: str
    precision: str = "fp32"
    attack_precision: str = "fp32"
    compiled: bool = False
    attack_steps: int = ATTACK_STEPS

    def loaded(self) -> CLIPModel:
        if self.device == "cpu":
            return load(self.model)
        # Drawing random weights takes longer than steps on a GPU do.
        model = copy.deepcopy(loaded_once(self.model))
        model.encoder.to(self.device)
        model.preprocessing.to(self.device)
        return model

    def class_names(self) -> list[str]:
        return [f"thing number {index}" for index in range(self.prompts)]

    def images(self, side: int) -> tuple[Tensor, Tensor]:
        """Images (batch, 3, side, side) in [0, 1] and their labels (batch,), on the device."""
        generator = torch.Generator().manual_seed(0)
        images = torch.rand(self.batch, 3, side, side, generator=generator)
        labels = torch.randint(self.prompts, (self.batch,), generator=generator)
        return images.to(self.device), labels.to(self.device)


@functools.cache
def loaded_once(model: str) -> CLIPModel:
    """On the CPU, and kept."""
    return load(model)


def labels_right_in(share: float, predictions: Tensor) -> Tensor:
    """Labels (N,) of which the predictions (N,) hit ``share``, the first ones; the rest miss."""
    right = math.ceil(share * len(predictions))
    labels = predictions.clone()
    labels[right:] = (labels[right:] + 1) % (int(predictions.max()) + 1)
    return labels
