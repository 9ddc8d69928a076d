"""TeCoA: text-guided contrastive adversarial training (Mao et al., "Understanding zero-shot
adversarial robustness for large-scale models", ICLR 2023, arXiv 2212.07016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.base import (
    Models,
    Needs,
    Objective,
    Outputs,
    View,
    check_scale,
    scale_of,
    share,
)
from zsrobust.objectives.crafting import against_labels
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import check_types


@dataclass(frozen=True)
class TeCoA(Objective):
    """``CE(P_S(x'), y)``, the mean over samples; x' from PGD on the same cross-entropy.

    Attributes:
        logit_scale: what multiplies the cosines in the loss and in the attack; ``model`` for the
            model's own.

    Raises:
        RequestError: if ``logit_scale`` is not above 0.
    """

    logit_scale: float | Literal["model"] = "model"

    def __post_init__(self) -> None:
        check_types(self, "objective.")
        check_scale(self.logit_scale)

    @property
    def label(self) -> str:
        """Its name in results."""
        return "tecoa"

    @property
    def needs(self) -> Needs:
        """The student on adversarial images."""
        return Needs(student=frozenset({"crafted"}))

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Adversarial images of the model in training."""
        scale = scale_of(self.logit_scale)
        return against_labels(models.classifier, batch, attack, epoch, scale)

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """Cross-entropy on adversarial images."""
        logits = models.classifier.logits(outputs.student["crafted"], scale_of(self.logit_scale))
        return {"total": share(cross_entropy(logits, labels), "mean", global_batch)}
