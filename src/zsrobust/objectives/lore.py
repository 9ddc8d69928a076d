"""LORE: Lagrangian-optimized robust embeddings (Khodabandeh, Afzali, Afsharrad, Mousavi, Lall,
Amini, Moosavi-Dezfooli, "LORE: Lagrangian-optimized robust embeddings for visual encoders",
arXiv 2505.18884).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.objectives.base import (
    HeadUpdates,
    Needs,
    Objective,
    StepContext,
    register_objective,
)
from zsrobust.objectives.distances import squared_distance
from zsrobust.utils.lazy import Tensor, nn, torch
from zsrobust.utils.validation import require


@register_objective("lore", "LORE", arxiv="2505.18884")
@dataclass(frozen=True)
class LORE(Objective):
    """``|S(x') - T(x)|^2 + lambda(T(x)) (|S(x) - T(x)|^2 - rho |T(x)|^2)``, means over samples.

    FARE under the constraint that clean embeddings move by no more than the root of ``rho`` of
    their length. ``lambda``, a multiplier for each image, is a perceptron of two layers on T(x)
    with a Softplus at its end. The encoder descends in every step; in one of ``primal_steps``
    steps ``lambda`` ascends, by the same kind of optimizer. x' comes from PGD on the first term.
    No labels, no text.

    Attributes:
        rho: squared relative distance that clean embeddings may move, 0 or more.
        primal_steps: steps of the encoder for one of the multipliers, 1 or more; K in the paper.
        dual_lr: peak learning rate of the multipliers, above 0.
        width: hidden units of the multipliers' perceptron, 1 or more.

    Raises:
        RequestError: if a number is outside its range.
    """

    rho: float = 0.1
    primal_steps: int = 5
    dual_lr: float = 5e-4
    width: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.rho < float("inf"), "objective.rho", self.rho, "0 or more")
        require(0 < self.dual_lr < float("inf"), "objective.dual_lr", self.dual_lr, "above 0")
        for key in ("primal_steps", "width"):
            require(getattr(self, key) >= 1, f"objective.{key}", getattr(self, key), "1 or more")

    @property
    def needs(self) -> Needs:
        """The student on both views, the original on clean images."""
        return Needs(
            student=frozenset({"adversarial", "clean"}),
            teacher=frozenset({"clean"}),
            attack="teacher",
        )

    @property
    def head_updates(self) -> HeadUpdates:
        """The multipliers climb, at a rate of their own, after every ``primal_steps``-th step."""
        return HeadUpdates(lr=self.dual_lr, every=self.primal_steps, ascend=True)

    def head(self, dim: int, classes: int, seed: int) -> nn.Module:
        """The multipliers (N, 1), above 0, of the original's embeddings (N, dim)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(
                nn.Linear(dim, self.width), nn.ReLU(), nn.Linear(self.width, 1), nn.Softplus()
            )

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Squared distance from the original's clean embeddings, one value a sample (N,)."""
        return squared_distance(embeddings, step.teacher["clean"])

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the means of the squared ``distance`` of adversarial embeddings, of the
        squared relative ``deviation`` of clean ones, and of the ``multiplier``.
        """
        assert step.head is not None
        original = step.teacher["clean"].float()
        multipliers = step.head(original).squeeze(-1)
        distance = self.attack_loss(step.student["adversarial"], step)
        deviation = squared_distance(step.student["clean"], original)
        length = original.square().sum(-1)
        return {
            "total": step.mean(distance + multipliers * (deviation - self.rho * length)),
            "distance": step.mean(distance),
            "deviation": step.mean(deviation / length),
            "multiplier": step.mean(multipliers),
        }
