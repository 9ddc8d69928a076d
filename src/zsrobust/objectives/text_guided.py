"""What TGA-ZSR, Comp-TGA and SAFT share: cross-entropy, and attention held to the original's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.attention import Similarity, attention_map, map_distance
from zsrobust.objectives.base import (
    Models,
    Needs,
    Objective,
    Outputs,
    View,
    bracketed,
    check_scale,
    check_weights,
    departures,
    logits_of,
    scale_of,
    share,
)
from zsrobust.objectives.crafting import away
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.validation import check_types, require

Preset: TypeAlias = Literal["paper", "authors_code"]
SIMILARITIES: dict[Preset, Similarity] = {"paper": "cosine", "authors_code": "channels"}


@dataclass(frozen=True)
class TextGuided(Objective):
    """``CE(P_S(x'), y) + alpha d(A_S(x'), A_T(x)) + beta d(A_S(x), A_T(x))``.

    ``A`` is an attention map for the true class and ``d`` the Euclidean distance of two maps.
    Every term is a mean over samples, the first over the method's class vectors too, the others
    over its maps. Subclasses say what these are.
    """

    preset: Preset = "paper"
    alpha: float = 0.08
    beta: float = 0.05
    logit_scale: float | Literal["model"] = "model"
    map_side: int = 224

    NAME: ClassVar[str]

    def __post_init__(self) -> None:
        check_types(self, "objective.")
        check_weights(self, "alpha", "beta")
        check_scale(self.logit_scale)
        require(self.map_side >= 1, "objective.map_side", self.map_side, "1 or more")

    @property
    def label(self) -> str:
        """``tga_zsr[paper]``, or ``tga_zsr[paper, alpha=0.1]`` where options depart from it."""
        plain = type(self)(preset=self.preset)
        return bracketed(self.NAME, [self.preset, *departures(self, plain)])

    @property
    def needs(self) -> Needs:
        """The student on both views, the original on clean images, patch tokens of all."""
        return Needs(
            student=frozenset({"crafted", "clean"}), teacher=frozenset({"clean"}), tokens=True
        )

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Adversarial images from PGD on the student's cross-entropy alone."""
        return away(
            models.classifier,
            lambda embeddings: self._cross_entropy(embeddings, batch.labels, models),
            batch,
            attack,
            epoch,
        )

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """``total``, and the unweighted ``robust``, ``attention`` and ``clean_attention``."""
        attacked, clean = [], []
        for guides in self._guides(labels, models):
            on_crafted = self._map(
                outputs.student["crafted"], outputs.student_tokens["crafted"], guides
            )
            on_clean = self._map(outputs.student["clean"], outputs.student_tokens["clean"], guides)
            original = self._map(outputs.teacher["clean"], outputs.teacher_tokens["clean"], guides)
            attacked.append(map_distance(on_crafted, original))
            clean.append(map_distance(on_clean, original))
        robust = self._cross_entropy(outputs.student["crafted"], labels, models)
        parts = {
            "robust": share(robust, "mean", global_batch),
            "attention": share(torch.stack(attacked).mean(0), "mean", global_batch),
            "clean_attention": share(torch.stack(clean).mean(0), "mean", global_batch),
        }
        total = (
            parts["robust"] + self.alpha * parts["attention"] + self.beta * parts["clean_attention"]
        )
        return {"total": total, **parts}

    def _class_vectors(self, models: Models) -> tuple[Tensor, ...]:
        """The class vectors (C, dim) of the cross-entropy, one matrix for each description."""
        return (models.classifier.class_embeddings,)

    def _guides(self, labels: Tensor, models: Models) -> tuple[tuple[Tensor, ...], ...]:
        """For each map the texts that it is made of, each one vector an image, (N, dim)."""
        return tuple((vectors[labels],) for vectors in self._class_vectors(models))

    def _map(self, embeddings: Tensor, tokens: Tensor, guides: tuple[Tensor, ...]) -> Tensor:
        """Attention (N, side, side) from embeddings (N, dim) and tokens (N, patches, dim)."""
        (text,) = guides
        return self._attention(embeddings, tokens, text)

    def _attention(self, embeddings: Tensor, tokens: Tensor, text: Tensor) -> Tensor:
        return attention_map(
            embeddings,
            tokens,
            text,
            similarity=SIMILARITIES[self.preset],
            side=self.map_side,
        )

    def _cross_entropy(self, embeddings: Tensor, labels: Tensor, models: Models) -> Tensor:
        """Mean over the method's class vectors, one value a sample (N,)."""
        scale = scale_of(self.logit_scale)
        values = [
            cross_entropy(logits_of(models, embeddings, vectors, scale), labels)
            for vectors in self._class_vectors(models)
        ]
        return torch.stack(values).mean(0)
