"""PGD on one image, with a callback at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import LOSSES, LossName
from zsrobust.attacks.pgd import pgd
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.units import Eps

SEED = 0


@dataclass(frozen=True)
class Step:
    """An attack under way.

    Attributes:
        taken: gradient steps so far.
        loss: of the iterate.
        image: the iterate, (3, H, W) in [0, 1].
        probabilities: of the classes at the iterate, (C,).
    """

    taken: int
    loss: float
    image: Tensor
    probabilities: Tensor


OnStep = Callable[[Step], None]
"""Called with every iterate, the random start and the last included; it may raise."""


@dataclass(frozen=True)
class Settings:
    """PGD in L-inf with one random start, as ``pgd-K`` and ``pgd-K-targeted`` of an evaluation.

    Attributes:
        eps: radius, as a fraction of the pixel range.
        steps: gradient steps.
        target: the index of the target class; None for an untargeted attack.
    """

    eps: Eps
    steps: int
    target: int | None = None

    @property
    def threat(self) -> ThreatModel:
        """L-inf with this radius."""
        return ThreatModel(eps=float(self.eps))

    @property
    def loss(self) -> LossName:
        """What the attack maximises."""
        return "ce" if self.target is None else "targeted"

    @property
    def name(self) -> str:
        """As in results."""
        return f"pgd-{self.steps}" + ("" if self.target is None else "-targeted")

    @property
    def step_size(self) -> float:
        """A fraction of the pixel range, by the rule of ``PGD``: 2.5 eps / steps."""
        return 2.5 * self.eps / self.steps

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number."""
        return {
            "name": self.name,
            "loss": self.loss,
            "steps": self.steps,
            "step_size": self.step_size,
            "random_start": True,
            "seed": SEED,
        }


def attack(
    classifier: ZeroShotClassifier,
    image: Tensor,
    label: int,
    settings: Settings,
    sample_id: str,
    on_step: OnStep,
) -> Tensor:
    """The adversarial image, (1, 3, H, W) in [0, 1].

    Args:
        classifier: whose gradient is followed.
        image: (1, 3, H, W) in [0, 1].
        label: the index of the class to move away from, where the settings have no target.
        settings: radius, steps and target.
        sample_id: keys the random start.
        on_step: called with each iterate; what it raises ends the attack.

    Raises:
        Diverged: if a gradient is NaN.
    """
    aim = torch.tensor([label if settings.target is None else settings.target], device=image.device)
    taken = 0

    def loss_fn(images: Tensor) -> Tensor:
        nonlocal taken
        logits = classifier(images)
        loss = LOSSES[settings.loss](logits, aim)
        with torch.no_grad():
            on_step(Step(taken, float(loss), images.detach()[0], logits[0].softmax(-1)))
        taken += 1
        return loss

    with frozen(classifier):
        adversarial = pgd(
            loss_fn,
            image,
            settings.threat,
            steps=settings.steps,
            step_size=settings.step_size,
            noise=uniform_noise(image, [sample_id], seed=SEED, purpose="pgd"),
        )
        with torch.no_grad():
            loss_fn(adversarial)
    return adversarial
