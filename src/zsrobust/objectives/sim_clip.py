"""Sim-CLIP: unsupervised Siamese adversarial fine-tuning (Hossain, Imteaj, arXiv 2407.14971)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from zsrobust.objectives.base import Needs, Objective, StepContext, register_objective
from zsrobust.objectives.distances import cosine_distance, squared_distance
from zsrobust.utils.lazy import Tensor


@register_objective("sim_clip", "Sim-CLIP", arxiv="2407.14971")
@dataclass(frozen=True)
class SimCLIP(Objective):
    """``-(cos(S(x'), sg S(x)) + cos(S(x), sg S(x'))) / 2``, the mean over samples; no labels.

    ``sg`` stops the gradient, so each side in turn is the fixed target of the other. x' comes
    from PGD that minimises the cosine of S(x') and S(x).

    Attributes:
        preset: ``paper`` compares the student's embeddings of clean and adversarial images;
            ``authors_code`` takes the frozen original's clean embeddings T(x) in the place of
            S(x), and x' from PGD that maximises |S(x') - T(x)|^2, as the released code does.

    Raises:
        RequestError: if the preset is unknown.
    """

    preset: Literal["paper", "authors_code"] = "paper"

    @property
    def needs(self) -> Needs:
        """The student on x', and on x the student or the original."""
        if self.preset == "authors_code":
            return Needs(teacher=frozenset({"clean"}), attack="teacher")
        return Needs(student=frozenset({"adversarial", "clean"}), attack="student")

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Distance from the clean embeddings, one value a sample (N,)."""
        if self.preset == "authors_code":
            return squared_distance(embeddings, step.teacher["clean"])
        return cosine_distance(embeddings, step.student["clean"])

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """Minus the symmetric cosine, from -1 to 1; labels are not read."""
        adversarial = step.student["adversarial"]
        clean = (step.teacher if self.preset == "authors_code" else step.student)["clean"]
        one = cosine_distance(adversarial, clean.detach())
        other = cosine_distance(clean, adversarial.detach())
        return {"total": step.mean((one + other) / 2 - 1)}
