"""FARE: unsupervised adversarial fine-tuning of the embedding (Schlarmann, Singh, Croce, Hein,
"Robust CLIP", ICML 2024, arXiv 2402.12336).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.base import (
    Models,
    Needs,
    Objective,
    Outputs,
    View,
    share,
    squared_distance,
)
from zsrobust.objectives.crafting import away
from zsrobust.utils.lazy import Tensor


@dataclass(frozen=True)
class FARE(Objective):
    """``|S(x') - T(x)|^2`` of raw embeddings, the mean over samples; no labels, no text.

    x' comes from PGD that maximises the same distance.
    """

    @property
    def label(self) -> str:
        """Its name in results."""
        return "fare"

    @property
    def needs(self) -> Needs:
        """The student on x', the original on x."""
        # Before the first update both encoders are one, and the distance is least at the image.
        return Needs(
            student=frozenset({"crafted"}), teacher=frozenset({"clean"}), random_start=True
        )

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Images whose embeddings are far from the original's of the clean ones."""
        return away(
            models.classifier,
            lambda embeddings: squared_distance(embeddings, teacher["clean"]),
            batch,
            attack,
            epoch,
        )

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """Squared distance from the original's clean embeddings; labels are not read."""
        distance = squared_distance(outputs.student["crafted"], outputs.teacher["clean"])
        return {"total": share(distance, "mean", global_batch)}
