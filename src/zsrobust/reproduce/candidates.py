"""Losses that may do better than PMG-AFT at no more passes a step, close to it.

PMG-AFT (``paper``) is ``ce_adv + kl_teacher_adv + kl_clean_adv`` in the words of
``objectives.terms``: the frozen original is shown the adversarial image, on which it is wrong.
"""

from __future__ import annotations

from typing import Any

from zsrobust.objectives.sum import Term
from zsrobust.reproduce.methods import Method

OF_THE_RUN = ("ema", "eps_warmup_steps", "negatives")


def _sum(
    name: str, title: str, *terms: str | Term, start: float | None = None, **more: Any
) -> Method:
    """Terms by name weigh 1; ``more`` are options of the sum, or of the fine-tuning."""
    made = [term if isinstance(term, Term) else Term(term) for term in terms]
    changes = {key: more.pop(key) for key in OF_THE_RUN if key in more}
    return Method(name, title, "sum", {"terms": made, **more}, changes, start)


def _as_code(name: str, title: str, guide: str) -> Method:
    """At the scale and with the reductions of the authors' code, where their own terms do best."""
    guides = [Term(guide, reduction="sum"), Term("kl_clean_adv", reduction="sum")]
    return _sum(name, title, "ce_adv", *guides, logit_scale=1.0, start=1e-2)


def _kept(weight: float) -> tuple[Term, ...]:
    return Term("ce_adv"), Term("kl_teacher_clean", weight), Term("kl_clean_adv")


_ANCHORED = ("ce_adv", "kl_anchor_adv", "kl_clean_adv")
_BOTH = ("ce_adv", "ce_clean", "kl_teacher_clean")

NEGATIVES = (
    *("fire", "bus", "lake", "heaven", "water", "mountain", "bang", "wind"),
    *("mountain lake", "water bus", "wind on the water", "fire on the mountain"),
)
"""Of words that glyph-clip knows and no set of the suite names a class with."""

CANDIDATES = (
    _sum("anchor", "T sees x, for S on x'", "ce_adv", "kl_anchor_adv", "kl_clean_adv"),
    _sum("keep", "T sees x, for S on x", "ce_adv", "kl_teacher_clean", "kl_clean_adv"),
    _sum("keep-only", "the same without the clean term", "ce_adv", "kl_teacher_clean"),
    _sum("soft", "soft labels of T(x) alone", "kl_anchor_adv", "kl_clean_adv"),
    _sum("turned", "both KLs turned round", "ce_adv", "kl_clean_teacher", "kl_adv_clean"),
    _sum("both", "labels on x too", "ce_adv", "ce_clean", "kl_teacher_clean"),
    _sum("cosine", "features of T(x), cosine", "ce_adv", "cosine_teacher_clean", "kl_clean_adv"),
    _sum(
        "cool",
        "logit scale 30",
        *("ce_adv", "kl_teacher_clean", "kl_clean_adv"),
        logit_scale=30.0,
    ),
    _sum(
        "cold",
        "logit scale 10",
        *("ce_adv", "kl_teacher_clean", "kl_clean_adv"),
        logit_scale=10.0,
        start=3e-3,
    ),
    _sum("cool-anchor", "T(x) for S on x', logit scale 30", *_ANCHORED, logit_scale=30.0),
    _sum("cool-both", "labels on x too, logit scale 30", *_BOTH, logit_scale=30.0),
    _as_code("code-keep", "authors' scale, T sees x, for S on x", "kl_teacher_clean"),
    _as_code("code-anchor", "authors' scale, T sees x, for S on x'", "kl_anchor_adv"),
    _sum("keep-4", "T sees x, for S on x, weight 4", *_kept(4.0)),
    _sum("keep-ema", "T sees x, for S on x, EMA 0.99", *_kept(1.0), ema=0.99),
    _sum("keep-sure", "T sees x, for S on x, weighed by P_T(y|x)", *_kept(1.0), confidence=True),
    _sum("keep-grow", "T sees x, for S on x, radius grows", *_kept(1.0), eps_warmup_steps=100),
    _sum("keep-names", "T sees x, for S on x, 12 more names", *_kept(1.0), negatives=[*NEGATIVES]),
    _sum("feature", "features of T(x) for S on x'", "ce_adv", Term("cosine_anchor_adv", 10.0)),
)
