"""The workload: an architecture with random weights, random images and synthetic prompts."""

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
    """Sizes and precision of a fine-tuning step.

    Attributes:
        model: a name that the package loads, such as ``ViT-B-32/random``.
        batch: images per step.
        prompts: number of classes, with one prompt each.
        device: ``cpu`` or ``cuda``.
        precision: of the update: ``fp32``, ``bf16`` (ours) or ``fp16`` (the authors').
        attack_precision: of our attack: ``fp32`` or ``bf16``.
        compiled: whether our encoders are compiled.
        attack_steps: PGD steps.
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
        # Drawing random weights takes longer than a step on a GPU.
        model = copy.deepcopy(cached_model(self.model))
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
def cached_model(model: str) -> CLIPModel:
    """The model on the CPU, loaded once."""
    return load(model)


def labels_for_accuracy(accuracy: float, predictions: Tensor) -> Tensor:
    """Labels (N,) for which the first ``accuracy * N`` predictions (N,) are correct, no others."""
    correct = math.ceil(accuracy * len(predictions))
    labels = predictions.clone()
    labels[correct:] = (labels[correct:] + 1) % (int(predictions.max()) + 1)
    return labels
