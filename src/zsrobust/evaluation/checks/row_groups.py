"""Groups of rows that may be compared with each other, and how findings describe them."""

from __future__ import annotations

import re

from zsrobust.evaluation.results import Finding, Results, Row
from zsrobust.utils.units import format_radius

RISE_SHARE = 0.005
"""Attacks are not exact: one sample, or one in 200, may stand longer by bad luck alone."""


def row_groups(results: Results, *fields: str) -> list[list[Row]]:
    """Rows of one model on one set that also share ``fields``: comparable, on the same samples."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in results.rows:
        same = ("model", "dataset", "split", "resolution", "n", *fields)
        groups.setdefault(tuple(getattr(row, field) for field in same), []).append(row)
    return list(groups.values())


def is_noise(row: Row) -> bool:
    """Whether the row is of random noise: a baseline, not an attack."""
    return re.fullmatch(r"noise-\d+", row.attack) is not None


def standing(row: Row) -> int:
    """How many samples stand the attack."""
    return round(row.robust_acc * row.n)


def significantly_above(row: Row, other: Row) -> bool:
    """Whether more stand ``row`` than ``other`` by more than bad luck explains.

    Of an estimate from a part of the samples, its interval says what bad luck explains.
    """
    if row.sampling or other.sampling:
        return row.ci95_robust[0] > other.ci95_robust[1]
    return standing(row) - standing(other) > max(1, RISE_SHARE * row.n)


def radius(row: Row) -> str:
    """The radius as text."""
    return format_radius(row.norm, row.eps)


def where(row: Row) -> str:
    """Model, data set and n as text."""
    return f"{row.model} on {row.dataset} (n {row.n})"


def passed(check: str, compared: int, sentence: str) -> list[Finding]:
    """The one finding of a check that found nothing wrong in ``compared`` comparisons, if any."""
    if not compared:
        return []
    times = f"{compared} comparison{'s' if compared > 1 else ''}"
    return [Finding(check, True, f"{times}: {sentence}", {"comparisons": compared}, "As it must.")]


def skipped(check: str, untold: int, sentence: str) -> Finding:
    """The finding of a check to which ``untold`` comparisons, all that there are, say nothing."""
    times = f"{untold} comparison{'s' if untold > 1 else ''}"
    means = "There is nothing to tell: an attack without effect is not told from a robust model."
    return Finding(
        check, True, f"{times}: {sentence}", {"comparisons": untold}, means, skipped=True
    )


def no_gradient(check: str, of: str = "the model") -> Finding:
    """The finding of a check that needs a gradient, on a model without one."""
    return Finding(
        check,
        True,
        f"{of} has no gradient with respect to the image, so that checks of it were skipped",
        {},
        "Only attacks without gradients were run, which mostly find fewer adversarial images than "
        "attacks with gradients find on other models: the accuracy is an upper bound.",
        skipped=True,
    )
