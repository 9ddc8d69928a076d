"""Losses that may do better than PMG-AFT at no more passes a step, close to it.

PMG-AFT (``paper``) is ``ce_adv + kl_teacher_adv + kl_clean_adv`` in the words of
``objectives.terms``: the frozen original is shown the adversarial image, on which it is wrong.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from zsrobust.objectives.sum import Term
from zsrobust.reproduce.methods import PRESETS, TECOA, Method

OF_THE_METHOD = ("start", "changes", "optimizer", "attack")


def _sum(name: str, title: str, *terms: str | Term, **more: Any) -> Method:
    """Terms by name weigh 1; ``more`` are options of the sum, or of the method."""
    made = [term if isinstance(term, Term) else Term(term) for term in terms]
    of_the_method = {key: more.pop(key) for key in OF_THE_METHOD if key in more}
    return Method(name, title, "sum", {"terms": made, **more}, **of_the_method)


def _as_code(name: str, title: str, guide: str) -> Method:
    """At the scale and with the reductions of the authors' code, where their own terms do best."""
    guides = [Term(guide, reduction="sum"), Term("kl_clean_adv", reduction="sum")]
    return _sum(name, title, "ce_adv", *guides, logit_scale=1.0, start=1e-2)


def _kept(name: str, title: str, weight: float = 1.0, **more: Any) -> Method:
    """T sees x, for S on x, with one thing besides."""
    terms = [Term(term, weight if term == "kl_teacher_clean" else 1.0) for term in _KEEP]
    options = {"start": 3e-3, **more}
    return _sum(f"keep-{name}", f"T sees x, for S on x, {title}", *terms, **options)


def _embedded(name: str, title: str, *terms: str, **more: Any) -> Method:
    """FARE's distance, of a size with the others: embeddings have norms of some hundreds."""
    features = [Term(term, 1e-4) if term.startswith("l2_") else Term(term) for term in terms]
    return _sum(f"l2-{name}", title, *features, start=1e-2, **more)


def _with_adamw(method: Method) -> Method:
    """What all others are trained with is SGD."""
    return replace(
        method,
        name=f"{method.name}-adamw",
        title=f"{method.title}, AdamW",
        optimizer={"name": "adamw"},
        start=3e-3,
    )


_FARTHEST = {"attack_on": "l2_anchor_adv"}
_ANCHORED = ("ce_adv", "kl_anchor_adv", "kl_clean_adv")
_KEEP = ("ce_adv", "kl_teacher_clean", "kl_clean_adv")
_ONLY = ("ce_adv", "kl_teacher_clean")
_BOTH = ("ce_adv", "ce_clean", "kl_teacher_clean")
_GROWS: dict[str, Any] = {"start": 3e-3, "changes": {"eps_warmup_steps": 100}}

NEGATIVES = (
    *("fire", "bus", "lake", "heaven", "water", "mountain", "bang", "wind"),
    *("mountain lake", "water bus", "wind on the water", "fire on the mountain"),
)
"""Of words that glyph-clip knows and no set of the suite names a class with."""
PROMPTS = ("{}", "a picture of a {}", "a photo of a {}", "this is a photo of a {}")

CHOSEN = _sum("cool", "zsrobust (T sees x, for S on x, logit scale 30)", *_KEEP, logit_scale=30.0)
"""The best on the sets of ``screened.CHOSEN_ON``."""

CANDIDATES = (
    _sum("anchor", "T sees x, for S on x'", *_ANCHORED),
    _sum("keep", "T sees x, for S on x", *_KEEP),
    _sum("keep-only", "T sees x, for S on x, no clean term", *_ONLY),
    _sum("soft", "soft labels of T(x) alone", "kl_anchor_adv", "kl_clean_adv"),
    _sum("turned", "both KLs turned round", "ce_adv", "kl_clean_teacher", "kl_adv_clean"),
    _sum("both", "labels on x, no clean term", "ce_adv", "ce_clean", "kl_teacher_clean"),
    _sum("cosine", "features of T(x), cosine", "ce_adv", "cosine_teacher_clean", "kl_clean_adv"),
    CHOSEN,
    _sum("cold", "T sees x, for S on x, logit scale 10", *_KEEP, logit_scale=10.0, start=3e-3),
    _sum("cool-anchor", "T sees x, for S on x', logit scale 30", *_ANCHORED, logit_scale=30.0),
    _sum("cool-both", "labels on x, no clean term, logit scale 30", *_BOTH, logit_scale=30.0),
    _as_code("code-keep", "authors' scale, T sees x, for S on x", "kl_teacher_clean"),
    _as_code("code-anchor", "authors' scale, T sees x, for S on x'", "kl_anchor_adv"),
    _embedded("labels", "FARE and labels, attack on labels", "l2_anchor_adv", "ce_adv"),
    _embedded("attack", "FARE and labels, FARE's attack", "l2_anchor_adv", "ce_adv", **_FARTHEST),
    _embedded("clean", "FARE, x held too", "l2_anchor_adv", "l2_teacher_clean", **_FARTHEST),
    _embedded("all", "FARE and labels, x held too", "l2_anchor_adv", "l2_teacher_clean", "ce_adv"),
    _sum(
        "cold-both",
        "labels on x, no clean term, logit scale 10",
        *_BOTH,
        logit_scale=10.0,
        start=1e-2,
    ),
    _sum(
        "cold-anchor",
        "T sees x, for S on x', logit scale 10",
        *_ANCHORED,
        logit_scale=10.0,
        start=1e-2,
    ),
    _kept("4", "weight 4", 4.0),
    _kept("ema", "EMA 0.99", changes={"ema": 0.99}),
    _kept("sure", "weighed by P_T(y|x)", confidence=True),
    _kept("grow", "radius grows", **_GROWS),
    _kept("names", "12 more names", changes={"negatives": [*NEGATIVES]}),
    _kept("prompts", "4 prompts a class", changes={"templates": [*PROMPTS]}),
    _kept("strong", "PGD-4 in fewer steps", attack={"steps": 4}),
    _kept("soft-attack", "attack on T(x)'s soft labels", attack_on="kl_anchor_adv"),
    _kept("adamw", "AdamW", optimizer={"name": "adamw"}, start=3e-4),
    _sum("cool-only", "zsrobust, no clean term", *_ONLY, logit_scale=30.0, start=3e-3),
    _sum("grow-cool", "zsrobust, radius grows", *_KEEP, logit_scale=30.0, **_GROWS),
    *map(_with_adamw, (TECOA, *PRESETS[:2])),
)
