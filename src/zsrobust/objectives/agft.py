"""AGFT: adversarial fine-tuning on soft labels from the original model, CVPR 2026
(arXiv 2603.29410).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.base import (
    Models,
    Needs,
    Objective,
    Outputs,
    View,
    bracketed,
    check_scale,
    departures,
    scale_of,
    share,
)
from zsrobust.objectives.crafting import away
from zsrobust.utils.lazy import F, Tensor
from zsrobust.utils.validation import check_types, require


@dataclass(frozen=True)
class AGFT(Objective):
    """``CE(P_S(x'), q)`` with soft labels ``q = softmax(softness * scale * cos(T(x), t))``.

    ``P_S`` is at the same ``scale``; the mean over samples; labels are not read. x' comes from
    PGD on this cross-entropy with the same soft labels, as in the released code.

    Attributes:
        logit_scale: what multiplies the cosines of the model in training, in the loss and in the
            attack; ``model`` for the model's own.
        softness: what the scale is multiplied by for the soft labels, above 0; below 1 they are
            softer than the original's own prediction.

    Raises:
        RequestError: if either is not above 0.
    """

    logit_scale: float | Literal["model"] = 180.0
    softness: float = 0.4

    def __post_init__(self) -> None:
        check_types(self, "objective.")
        check_scale(self.logit_scale)
        require(0 < self.softness < float("inf"), "objective.softness", self.softness, "above 0")

    @property
    def label(self) -> str:
        """``agft``, or ``agft[softness=1.0]`` where options depart from the defaults."""
        return bracketed("agft", departures(self, type(self)()))

    @property
    def needs(self) -> Needs:
        """The student on x', the original on x."""
        return Needs(student=frozenset({"crafted"}), teacher=frozenset({"clean"}))

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Adversarial images against the soft labels."""
        soft = self._soft_labels(teacher["clean"], models)
        return away(
            models.classifier,
            lambda embeddings: self._cross_entropy(embeddings, soft, models),
            batch,
            attack,
            epoch,
        )

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """Cross-entropy on adversarial images with the original's soft labels."""
        soft = self._soft_labels(outputs.teacher["clean"], models)
        values = self._cross_entropy(outputs.student["crafted"], soft, models)
        return {"total": share(values, "mean", global_batch)}

    def _soft_labels(self, embeddings: Tensor, models: Models) -> Tensor:
        classifier = models.classifier
        scale = scale_of(self.logit_scale) or classifier.logit_scale
        return classifier.logits(embeddings, self.softness * scale).softmax(-1)

    def _cross_entropy(self, embeddings: Tensor, soft: Tensor, models: Models) -> Tensor:
        logits = models.classifier.logits(embeddings, scale_of(self.logit_scale))
        return F.cross_entropy(logits, soft, reduction="none")
