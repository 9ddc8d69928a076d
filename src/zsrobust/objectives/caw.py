"""CAW: confidence-aware weighting (Naghavian, Tavassolipour, "Zero-shot robustness of vision
language models via confidence-aware weighting", arXiv 2510.02913).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import (
    LogitScale,
    Needs,
    Objective,
    StepContext,
    View,
    register_objective,
)
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.lazy import F, Tensor, torch


@register_objective("caw", "CAW", arxiv="2510.02913")
@dataclass(frozen=True)
class CAW(Objective):
    """``CE(P_S(x'), y) + alpha (1 - P_S(x')_y) KL(P_S(x') || P_T(x)) + beta |s(x') - t(x')|``.

    Means over samples. The divergence from the original on the clean image counts for more where
    the student is less sure of the true class; its weight is differentiated, too. ``s`` and ``t``
    are unit embeddings. x' comes from PGD on the cross-entropy.

    Attributes:
        alpha: weight of the divergence, 0 or more.
        beta: weight of the embedding distance, 0 or more.
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.
    """

    alpha: float = 1.0
    beta: float = 1.0
    logit_scale: LogitScale = "model"

    @property
    def needs(self) -> Needs:
        """The student on x', the original on x for ``alpha`` and on x' for ``beta``."""
        views: dict[View, float] = {"clean": self.alpha, "adversarial": self.beta}
        return Needs(
            teacher=frozenset(view for view, weight in views.items() if weight > 0),
            apart=self.beta > 0,
        )

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``robust``, ``confidence`` and ``distance``."""
        embeddings = step.student["adversarial"]
        student = self.logits(embeddings, step)
        surprise = cross_entropy(student, step.labels)
        parts = {"robust": step.mean(surprise)}
        total = parts["robust"]
        if self.alpha > 0:
            original = self.logits(step.teacher["clean"], step)
            unsure = 1 - torch.exp(-surprise)
            parts["confidence"] = step.mean(unsure * kl_divergence(student, original))
            total = total + self.alpha * parts["confidence"]
        if self.beta > 0:
            ours, theirs = (
                F.normalize(one.float(), dim=-1)
                for one in (embeddings, step.teacher["adversarial"])
            )
            distances = torch.linalg.vector_norm(ours - theirs, dim=-1)
            parts["distance"] = step.mean(distances)
            total = total + self.beta * parts["distance"]
        return {"total": total, **parts}
