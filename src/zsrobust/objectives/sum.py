"""Any weighted sum of named terms: an ablation that needs a recipe and no code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.adv_flyp import contrastive
from zsrobust.objectives.base import (
    LogitScale,
    Needs,
    Objective,
    Reduction,
    StepContext,
    View,
    register_objective,
)
from zsrobust.objectives.distances import cosine_distance, kl_divergence, squared_distance
from zsrobust.objectives.tga_zsr import attention_map, map_distance
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import check_types, require

AttackedLoss: TypeAlias = Literal[
    "ce", "kl_clean_adv", "kl_anchor_adv", "l2_anchor_adv", "cosine_clean_adv", "none"
]


@dataclass(frozen=True)
class Term:
    """One term of a sum.

    Attributes:
        name: one of ``TERMS``.
        weight: what it is multiplied by; finite.
        reduction: over the global batch, ``mean`` or ``sum``.

    Raises:
        RequestError: if there is no such term, or the weight is not finite.
    """

    name: str
    weight: float = 1.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_types(self, "objective.terms.")
        known = self.name in TERMS
        require(known, "objective.terms.name", repr(self.name), f"one of {', '.join(TERMS)}")
        finite = abs(self.weight) < float("inf")
        require(finite, f"objective.terms.weight of {self.name}", self.weight, "a finite number")


@register_objective("sum", "sum")
@dataclass(frozen=True)
class SumOfTerms(Objective):
    """Any weighted sum of named terms: ``sum over terms of weight * reduction of the term``.

    Attributes:
        terms: list of terms, each with name, weight and reduction (mean or sum over the batch).
        attack_on: loss that PGD maximises: ``ce`` with the labels, ``kl_clean_adv`` as in TRADES,
            ``kl_anchor_adv`` (KL from the original's prediction), ``l2_anchor_adv`` as in FARE,
            ``cosine_clean_adv`` as in Sim-CLIP; ``none`` trains on clean images.
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.

    Raises:
        RequestError: if there is no term or one comes twice, or the scale is not above 0.
    """

    terms: list[Term] = field(default_factory=lambda: [Term("ce_adv")])
    attack_on: AttackedLoss = "ce"
    logit_scale: LogitScale = "model"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.terms) > 0, "objective.terms", "empty", "one term or more")
        names = [term.name for term in self.terms]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "objective.terms", f"{', '.join(twice)} twice", "each term once")

    @property
    def label(self) -> str:
        """The formula, such as ``sum[ce_adv + 0.5 kl_teacher_adv, logit_scale=1.0]``."""
        parts = [
            " + ".join(
                ("" if term.weight == 1 else f"{term.weight:g} ")
                + (f"sum({term.name})" if term.reduction == "sum" else term.name)
                for term in self.terms
            )
        ]
        if self.attack_on != "ce":
            parts.append(f"attack_on={self.attack_on}")
        if self.logit_scale != "model":
            parts.append(f"logit_scale={self.logit_scale}")
        return f"{self.name}[{', '.join(parts)}]"

    @property
    def needs(self) -> Needs:
        """What the terms and the attack read."""
        kinds = [TERMS[term.name] for term in self.terms]
        read = {source for kind in kinds for source in kind.reads}
        attack: Literal["labels", "student", "teacher"] | None = "labels"
        if self.attack_on == "none":
            attack = None
        elif self.attack_on != "ce":
            reference = TERMS[self.attack_on].reads[0]
            attack = reference[0]
            if attack == "teacher":
                read.add(reference)
        return Needs(
            student=frozenset(view for encoder, view in read if encoder == "student"),
            teacher=frozenset(view for encoder, view in read if encoder == "teacher"),
            tokens=any(kind.tokens for kind in kinds),
            attack=attack,
        )

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """The loss that ``attack_on`` names, one value a sample (N,)."""
        if self.attack_on == "ce":
            return super().attack_loss(embeddings, step)
        attacked = replace(step, student={**step.student, "adversarial": embeddings})
        return TERMS[self.attack_on].value(self, attacked)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and every term unweighted under its name."""
        parts = {
            term.name: step.reduce(TERMS[term.name].value(self, step), term.reduction)
            for term in self.terms
        }
        weighted = [term.weight * parts[term.name] for term in self.terms]
        total = weighted[0]
        for value in weighted[1:]:
            total = total + value
        return {"total": total, **parts}


Source: TypeAlias = tuple[Literal["student", "teacher"], View]
"""An encoder, and the image that it sees."""

ADV: Source = ("student", "adversarial")
CLEAN: Source = ("student", "clean")
TEACHER_ADV: Source = ("teacher", "adversarial")
TEACHER_CLEAN: Source = ("teacher", "clean")


@dataclass(frozen=True)
class TermKind:
    """A term: what it reads, whether it needs patch tokens, and its value a sample (N,)."""

    reads: tuple[Source, ...]
    value: Callable[[SumOfTerms, StepContext], Tensor]
    tokens: bool = False


def _embeddings(step: StepContext, source: Source) -> Tensor:
    encoder, view = source
    return (step.student if encoder == "student" else step.teacher)[view]


def _maps(step: StepContext, source: Source) -> list[Tensor]:
    encoder, view = source
    tokens = step.student_tokens if encoder == "student" else step.teacher_tokens
    text = step.classifier.class_embeddings[step.labels]
    return [attention_map(_embeddings(step, source), tokens[view], text)]


def _ce(source: Source) -> TermKind:
    return TermKind(
        (source,),
        lambda sum_, step: cross_entropy(sum_.logits(_embeddings(step, source), step), step.labels),
    )


def _contrastive(source: Source) -> TermKind:
    """Each image among the texts of the batch, and each text among its images.

    The batch is what one process sees at once: with ``accumulate`` or several processes a part.
    Images of one class count as wrong for each other, as in the code that this is from.
    """

    def value(sum_: SumOfTerms, step: StepContext) -> Tensor:
        return contrastive(sum_.logits(_embeddings(step, source), step)[:, step.labels])

    return TermKind((source,), value)


def _kl(one: Source, other: Source) -> TermKind:
    return TermKind(
        (one, other),
        lambda sum_, step: kl_divergence(
            *(sum_.logits(_embeddings(step, source), step) for source in (one, other))
        ),
    )


def _distance(distance: Callable[[Tensor, Tensor], Tensor], one: Source, other: Source) -> TermKind:
    return TermKind(
        (one, other),
        lambda _, step: distance(_embeddings(step, one), _embeddings(step, other)),
    )


def _attention(one: Source, other: Source) -> TermKind:
    return TermKind(
        (one, other),
        lambda _, step: map_distance(_maps(step, one), _maps(step, other)),
        tokens=True,
    )


# The original T and the student S see the image that the name ends with, but for `anchor`, where
# the original sees the clean one.
PAIRS: dict[str, tuple[Source, Source]] = {
    "teacher_adv": (TEACHER_ADV, ADV),
    "teacher_clean": (TEACHER_CLEAN, CLEAN),
    "clean_adv": (CLEAN, ADV),
    "anchor_adv": (TEACHER_CLEAN, ADV),
}
TERMS: dict[str, TermKind] = {
    # CE(P_S(x'), y) and CE(P_S(x), y)
    "ce_adv": _ce(ADV),
    "ce_clean": _ce(CLEAN),
    # CLIP's own loss on x' and x, with the texts of the batch: TGA-ZSR's code for FT-Adv, FT-Clean
    "contrast_adv": _contrastive(ADV),
    "contrast_clean": _contrastive(CLEAN),
    # KL(first || second), and the other direction
    **{f"kl_{name}": _kl(*pair) for name, pair in PAIRS.items()},
    "kl_adv_teacher": _kl(ADV, TEACHER_ADV),
    "kl_clean_teacher": _kl(CLEAN, TEACHER_CLEAN),
    "kl_adv_clean": _kl(ADV, CLEAN),
    # Squared distance and 1 - cosine of raw embeddings
    **{f"l2_{name}": _distance(squared_distance, *pair) for name, pair in PAIRS.items()},
    **{f"cosine_{name}": _distance(cosine_distance, *pair) for name, pair in PAIRS.items()},
    # TGA-ZSR's d(A_S(x'), A_T(x)) and d(A_S(x), A_T(x))
    "attention_adv": _attention(ADV, TEACHER_CLEAN),
    "attention_clean": _attention(CLEAN, TEACHER_CLEAN),
}
