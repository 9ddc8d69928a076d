"""TeCoA: text-guided contrastive adversarial training (Mao et al., "Understanding zero-shot
adversarial robustness for large-scale models", ICLR 2023, arXiv 2212.07016).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import LogitScale, Objective, StepContext, register_objective
from zsrobust.utils.lazy import Tensor


@register_objective("tecoa", "TeCoA", arxiv="2212.07016")
@dataclass(frozen=True)
class TeCoA(Objective):
    """``CE(P_S(x'), y)``, the mean over samples; x' from PGD on the same cross-entropy.

    Attributes:
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.
    """

    logit_scale: LogitScale = "model"

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """Cross-entropy on adversarial images."""
        logits = self.logits(step.student["adversarial"], step)
        return {"total": step.mean(cross_entropy(logits, step.labels))}
