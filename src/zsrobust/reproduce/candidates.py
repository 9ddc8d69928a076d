"""Losses that may do better than PMG-AFT at no more passes a step, close to it.

PMG-AFT (``paper``) is ``ce_adv + kl_teacher_adv + kl_clean_adv`` in the words of
``objectives.terms``: the frozen original is shown the adversarial image, on which it is wrong.
"""

from __future__ import annotations

from typing import Any

from zsrobust.objectives.sum import Term
from zsrobust.reproduce.methods import Method


def _sum(name: str, title: str, *terms: str, **options: Any) -> Method:
    made = [Term(term) for term in terms]
    return Method(name, title, "sum", {"terms": made, **options})


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
)
