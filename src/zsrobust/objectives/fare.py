"""FARE: unsupervised adversarial fine-tuning of the embedding (Schlarmann, Singh, Croce, Hein,
"Robust CLIP", ICML 2024, arXiv 2402.12336).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.objectives.base import Needs, Objective, StepContext, register_objective
from zsrobust.objectives.distances import squared_distance
from zsrobust.utils.lazy import Tensor


@register_objective("fare", "FARE", arxiv="2402.12336")
@dataclass(frozen=True)
class FARE(Objective):
    """``|S(x') - T(x)|^2`` of raw embeddings, the mean over samples; no labels, no text.

    x' comes from PGD that maximises the same distance.
    """

    @property
    def needs(self) -> Needs:
        """The student on x', the original on x."""
        return Needs(teacher=frozenset({"clean"}), attack="teacher")

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Squared distance from the original's clean embeddings, one value a sample (N,)."""
        return squared_distance(embeddings, step.teacher["clean"])

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """Squared distance from the original's clean embeddings; labels are not read."""
        return {"total": step.mean(self.attack_loss(step.student["adversarial"], step))}
