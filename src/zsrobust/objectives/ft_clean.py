"""FT-Clean: fine-tuning on clean images, the lower end of every robustness table."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import LogitScale, Needs, Objective, StepContext, register_objective
from zsrobust.utils.lazy import Tensor


@register_objective("ft_clean", "FT-Clean")
@dataclass(frozen=True)
class FTClean(Objective):
    """``CE(P_S(x), y)``, the mean over samples. Called FT-Standard in the PMG-AFT paper.

    Attributes:
        logit_scale: logit scale in the loss; ``model`` for the model's own.
    """

    logit_scale: LogitScale = "model"

    @property
    def needs(self) -> Needs:
        """The student on clean images."""
        return Needs(student=frozenset({"clean"}), attack=None)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """Cross-entropy on clean images."""
        logits = self.logits(step.student["clean"], step)
        return {"total": step.mean(cross_entropy(logits, step.labels))}
