"""FT-Clean: plain fine-tuning on clean images, the lower end of every robustness table."""

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
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import check_types


@dataclass(frozen=True)
class FTClean(Objective):
    """``CE(P_S(x), y)``, the mean over samples. Called FT-Standard in the PMG-AFT paper.

    Attributes:
        logit_scale: what multiplies the cosines in the loss; ``model`` for the model's own.

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
        return "ft_clean"

    @property
    def needs(self) -> Needs:
        """The student on clean images."""
        return Needs(student=frozenset({"clean"}), attack=False)

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """The clean images themselves."""
        return batch.images

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """Cross-entropy on clean images."""
        logits = models.classifier.logits(outputs.student["clean"], scale_of(self.logit_scale))
        return {"total": share(cross_entropy(logits, labels), "mean", global_batch)}
