"""Sim-CLIP: unsupervised Siamese adversarial fine-tuning (Hossain, Imteaj, arXiv 2407.14971)."""

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
    cosine_distance,
    share,
    squared_distance,
)
from zsrobust.objectives.crafting import away, clean_embeddings
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import check_types


@dataclass(frozen=True)
class SimCLIP(Objective):
    """``-(cos(S(x'), sg S(x)) + cos(S(x), sg S(x'))) / 2``, the mean over samples; no labels.

    ``sg`` stops the gradient, so each side in turn is the fixed target of the other. x' comes
    from PGD that minimises the cosine of S(x') and S(x).

    Attributes:
        preset: ``paper`` is the above and has no use for the original; ``authors_code`` is what
            the released code computes: T(x) of the frozen original in the place of S(x), so that
            the second half has no gradient, and x' from PGD that maximises |S(x') - T(x)|^2.

    Raises:
        RequestError: if the preset is unknown.
    """

    preset: Literal["paper", "authors_code"] = "paper"

    def __post_init__(self) -> None:
        check_types(self, "objective.")

    @property
    def label(self) -> str:
        """``sim_clip[paper]`` or ``sim_clip[authors_code]``."""
        return bracketed("sim_clip", [self.preset])

    @property
    def needs(self) -> Needs:
        """The student on x', and on x the student or the original."""
        if self.preset == "authors_code":
            return Needs(
                student=frozenset({"crafted"}), teacher=frozenset({"clean"}), random_start=True
            )
        both: frozenset[View] = frozenset({"crafted", "clean"})
        return Needs(student=both, random_start=True, clean_first=True)

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Images whose embeddings are far from those of the clean ones."""
        if self.preset == "authors_code":
            clean, distance = teacher["clean"], squared_distance
        else:
            clean, distance = clean_embeddings(models.classifier, batch), cosine_distance
        return away(
            models.classifier,
            lambda embeddings: distance(embeddings, clean),
            batch,
            attack,
            epoch,
        )

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """Minus the symmetric cosine, from -1 to 1; labels are not read."""
        crafted = outputs.student["crafted"]
        beside = outputs.teacher if self.preset == "authors_code" else outputs.student
        clean = beside["clean"]
        one = cosine_distance(crafted, clean.detach())
        other = cosine_distance(clean, crafted.detach())
        return {"total": share((one + other) / 2 - 1, "mean", global_batch)}
