"""Any weighted sum of named terms: an ablation that needs a recipe and no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.base import (
    Models,
    Needs,
    Objective,
    Outputs,
    Reduction,
    View,
    bracketed,
    check_scale,
    cosine_distance,
    kl_divergence,
    scale_of,
    share,
    squared_distance,
)
from zsrobust.objectives.crafting import against_labels, away, clean_embeddings
from zsrobust.objectives.terms import TEACHER_CLEAN, TERMS, Seen
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import check_types, require

AttackedLoss: TypeAlias = Literal[
    "ce", "kl_clean_adv", "kl_anchor_adv", "l2_anchor_adv", "cosine_clean_adv", "none"
]
AGAINST_TEACHER = ("kl_anchor_adv", "l2_anchor_adv")


@dataclass(frozen=True)
class Term:
    """One term of a sum.

    Attributes:
        name: one of ``terms.TERMS``.
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


@dataclass(frozen=True)
class SumOfTerms(Objective):
    """``L = sum over terms of weight * reduction over the global batch of the term``.

    Attributes:
        terms: name, weight and reduction of each; every name once.
        attack_on: what PGD makes larger: ``ce`` with the labels, ``kl_clean_adv``
            (KL(P_S(x) || P_S(x')), as TRADES), ``kl_anchor_adv`` (KL(P_T(x) || P_S(x')), the
            original's soft labels), ``l2_anchor_adv`` (|S(x') - T(x)|^2, as FARE),
            ``cosine_clean_adv`` (1 - cos(S(x), S(x')), as Sim-CLIP); ``none`` puts the clean
            image in the place of x'.
        logit_scale: what multiplies the cosines in every softmax and in the attack; ``model``
            for the model's own.
        confidence: weigh every sample by P_T(y | x), how sure the original is of its class on the
            clean image.

    Raises:
        RequestError: if there is no term or one comes twice, or the scale is not above 0.
    """

    terms: list[Term] = field(default_factory=lambda: [Term("ce_adv")])
    attack_on: AttackedLoss = "ce"
    logit_scale: float | Literal["model"] = "model"
    confidence: bool = False

    def __post_init__(self) -> None:
        check_types(self, "objective.")
        check_scale(self.logit_scale)
        require(len(self.terms) > 0, "objective.terms", "empty", "one term or more")
        names = [term.name for term in self.terms]
        twice = sorted({name for name in names if names.count(name) > 1})
        require(not twice, "objective.terms", f"{', '.join(twice)} twice", "each term once")

    @property
    def label(self) -> str:
        """The formula, such as ``sum[ce_adv + 0.5 kl_teacher_adv, logit_scale=1.0]``."""
        terms = " + ".join(
            ("" if term.weight == 1 else f"{term.weight:g} ")
            + (f"sum({term.name})" if term.reduction == "sum" else term.name)
            for term in self.terms
        )
        plain = type(self)(terms=self.terms)
        changed = [
            f"{key}={getattr(self, key)}"
            for key in ("attack_on", "logit_scale", "confidence")
            if getattr(self, key) != getattr(plain, key)
        ]
        return bracketed("sum", [terms, *changed])

    @property
    def needs(self) -> Needs:
        """What the terms and the attack read."""
        kinds = [TERMS[term.name] for term in self.terms]
        looks = {look for kind in kinds for look in kind.looks}
        if self.attack_on in AGAINST_TEACHER or self.confidence:
            looks.add(TEACHER_CLEAN)
        return Needs(
            student=frozenset(view for encoder, view in looks if encoder == "student"),
            teacher=frozenset(view for encoder, view in looks if encoder == "teacher"),
            tokens=any(kind.tokens for kind in kinds),
            attack=self.attack_on != "none",
            random_start=self.attack_on not in ("ce", "none"),
            clean_first=self.attack_on in ("kl_clean_adv", "cosine_clean_adv"),
        )

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Images that maximise the loss that ``attack_on`` names, or the clean ones."""
        classifier, scale = models.classifier, scale_of(self.logit_scale)
        if self.attack_on == "none":
            return batch.images
        if self.attack_on == "ce":
            return against_labels(classifier, batch, attack, epoch, scale)
        if self.attack_on in AGAINST_TEACHER:
            fixed = teacher["clean"]
        else:
            fixed = clean_embeddings(classifier, batch)

        def distance(embeddings: Tensor) -> Tensor:
            if self.attack_on == "l2_anchor_adv":
                return squared_distance(fixed, embeddings)
            if self.attack_on == "cosine_clean_adv":
                return cosine_distance(fixed, embeddings)
            clean, crafted = (classifier.logits(part, scale) for part in (fixed, embeddings))
            return kl_divergence(clean, crafted)

        return away(classifier, distance, batch, attack, epoch)

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """``total``, and every term unweighted under its name."""
        seen = Seen(outputs, labels, models, scale_of(self.logit_scale))
        weights = seen.confidence() if self.confidence else 1.0
        parts = {
            term.name: share(weights * TERMS[term.name].value(seen), term.reduction, global_batch)
            for term in self.terms
        }
        weighted = [term.weight * parts[term.name] for term in self.terms]
        total = weighted[0]
        for value in weighted[1:]:
            total = total + value
        return {"total": total, **parts}
