"""The named terms that a sum may be made of: each one value a sample, and what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.attention import attention_map, map_distance
from zsrobust.objectives.base import (
    Models,
    Outputs,
    View,
    cosine_distance,
    kl_divergence,
    squared_distance,
)
from zsrobust.utils.lazy import Tensor, torch

Encoder: TypeAlias = Literal["student", "teacher"]
Look: TypeAlias = tuple[Encoder, View]
"""Which encoder on which images."""

Distance: TypeAlias = Callable[[Tensor, Tensor], Tensor]

ADV: Look = ("student", "crafted")
CLEAN: Look = ("student", "clean")
TEACHER_ADV: Look = ("teacher", "crafted")
TEACHER_CLEAN: Look = ("teacher", "clean")

MAP_SIDE = 224


@dataclass(frozen=True)
class Seen:
    """What a step's terms are computed from.

    Attributes:
        outputs: of both encoders.
        labels: true classes (N,).
        models: the classifier.
        scale: what multiplies the cosines in every softmax; None for the model's own.
    """

    outputs: Outputs
    labels: Tensor
    models: Models
    scale: float | None

    def embeddings(self, look: Look) -> Tensor:
        """Raw embeddings (N, dim)."""
        encoder, view = look
        return (self.outputs.student if encoder == "student" else self.outputs.teacher)[view]

    def logits(self, look: Look) -> Tensor:
        """Logits (N, C) at the sum's scale."""
        return self.models.classifier.logits(self.embeddings(look), self.scale)

    def confidence(self) -> Tensor:
        """P_T(y | x), (N,): the original's probability of the true class of each clean image."""
        return (-cross_entropy(self.logits(TEACHER_CLEAN), self.labels)).exp()

    def attention(self, look: Look) -> Tensor:
        """TGA-ZSR's maps (N, side, side) for the true classes."""
        encoder, view = look
        of_student = encoder == "student"
        tokens = self.outputs.student_tokens if of_student else self.outputs.teacher_tokens
        return attention_map(
            self.embeddings(look),
            tokens[view],
            self.models.classifier.class_embeddings[self.labels],
            similarity="cosine",
            side=MAP_SIDE,
        )


@dataclass(frozen=True)
class TermKind:
    """A term: what it reads, whether it needs patch tokens, and its value a sample (N,)."""

    looks: tuple[Look, ...]
    value: Callable[[Seen], Tensor]
    tokens: bool = False


def _on_labels(look: Look) -> TermKind:
    return TermKind((look,), lambda seen: cross_entropy(seen.logits(look), seen.labels))


def _in_batch(look: Look) -> TermKind:
    """Each image among the texts of the batch, and each text among its images.

    The batch is what one process sees at once: with ``accumulate`` or several processes a part.
    Images of one class count as wrong for each other, as in the code that this is from.
    """

    def value(seen: Seen) -> Tensor:
        alike = seen.logits(look)[:, seen.labels]
        own = torch.arange(len(alike), device=alike.device)
        return (cross_entropy(alike, own) + cross_entropy(alike.T, own)) / 2

    return TermKind((look,), value)


def _on_logits(one: Look, other: Look) -> TermKind:
    return TermKind((one, other), lambda seen: kl_divergence(seen.logits(one), seen.logits(other)))


def _on_embeddings(distance: Distance, one: Look, other: Look) -> TermKind:
    return TermKind(
        (one, other), lambda seen: distance(seen.embeddings(one), seen.embeddings(other))
    )


def _on_attention(one: Look, other: Look) -> TermKind:
    return TermKind(
        (one, other),
        lambda seen: map_distance(seen.attention(one), seen.attention(other)),
        tokens=True,
    )


TERMS: dict[str, TermKind] = {
    # CE(P_S(x'), y) and CE(P_S(x), y)
    "ce_adv": _on_labels(ADV),
    "ce_clean": _on_labels(CLEAN),
    # CLIP's own loss on x' and x, with the texts of the batch: TGA-ZSR's code for FT-Adv, FT-Clean
    "contrast_adv": _in_batch(ADV),
    "contrast_clean": _in_batch(CLEAN),
    # KL(first || second); the original T and the student S on the image named last
    "kl_teacher_adv": _on_logits(TEACHER_ADV, ADV),
    "kl_adv_teacher": _on_logits(ADV, TEACHER_ADV),
    "kl_teacher_clean": _on_logits(TEACHER_CLEAN, CLEAN),
    "kl_clean_teacher": _on_logits(CLEAN, TEACHER_CLEAN),
    # KL of the student's two predictions
    "kl_clean_adv": _on_logits(CLEAN, ADV),
    "kl_adv_clean": _on_logits(ADV, CLEAN),
    # KL(P_T(x) || P_S(x')): the original is shown the clean image
    "kl_anchor_adv": _on_logits(TEACHER_CLEAN, ADV),
    # Squared distance and 1 - cosine of raw embeddings of the same pairs
    "l2_teacher_adv": _on_embeddings(squared_distance, TEACHER_ADV, ADV),
    "l2_teacher_clean": _on_embeddings(squared_distance, TEACHER_CLEAN, CLEAN),
    "l2_clean_adv": _on_embeddings(squared_distance, CLEAN, ADV),
    "l2_anchor_adv": _on_embeddings(squared_distance, TEACHER_CLEAN, ADV),
    "cosine_teacher_adv": _on_embeddings(cosine_distance, TEACHER_ADV, ADV),
    "cosine_teacher_clean": _on_embeddings(cosine_distance, TEACHER_CLEAN, CLEAN),
    "cosine_clean_adv": _on_embeddings(cosine_distance, CLEAN, ADV),
    "cosine_anchor_adv": _on_embeddings(cosine_distance, TEACHER_CLEAN, ADV),
    # TGA-ZSR's d(A_S(x'), A_T(x)) and d(A_S(x), A_T(x))
    "attention_adv": _on_attention(ADV, TEACHER_CLEAN),
    "attention_clean": _on_attention(CLEAN, TEACHER_CLEAN),
}
