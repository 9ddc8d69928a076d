"""One sentence on which method is the most robust, no stronger than the samples and seeds allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from zsrobust.evaluation.checks.collapse import collapsed_models
from zsrobust.evaluation.comparison.differences import SamplesOfTwo, difference_of, samples_of_two
from zsrobust.evaluation.comparison.merge import ModelResults
from zsrobust.evaluation.comparison.paired import LEVEL
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.statistics import Interval, seeds_interval
from zsrobust.reporting.figures.series import Place, Series, accuracy_series, main_average
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class Lead:
    """How far the first of two methods is ahead, samples paired within a seed.

    Attributes:
        points: difference of their robust accuracies, in points.
        interval: its 95 % interval, in points.
        p: McNemar's, of one run of each; None of several seeds.
    """

    points: float
    interval: Interval
    p: float | None

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero, and p, where there is one, is below 0.05."""
        return self.interval[0] > 0 and (self.p is None or self.p < LEVEL)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.points:.1f} points ({low:+.1f} to {high:+.1f})"


def verdict(results: Results, parts: Mapping[str, Sequence[ModelResults]], condition: str) -> str:
    """Which method keeps the highest robust accuracy, and whether its lead is significant.

    Methods are compared on the average over unseen sets, or over all where none is unseen, with the
    next one, paired on the same samples. A method whose test-time defence was not attacked is left
    out, and so is one that has collapsed on most of the sets, which is said.

    Args:
        results: of models that were measured the same way.
        parts: by model, the evaluations that it is in, as of ``merge_results``.
        condition: attack and radius, such as ``pgd-10 1/255``.
    """
    places, series = accuracy_series(results, condition)
    place = main_average(places)
    rows = [row for row in results.rows if row.condition == condition]
    left_out = {row.model for row in rows if not row.adaptive}
    ranked = sorted(
        (one for one in series if left_out.isdisjoint(one.models) and place.name in one.robust),
        key=lambda one: -one.robust[place.name].accuracy,
    )
    if not ranked:
        return f"No model was attacked by {condition} through its defence."
    collapsed = collapsed_models(replace(results, rows=rows))
    fallen = [one for one in ranked if not collapsed.isdisjoint(one.models)]
    ranked = [one for one in ranked if one not in fallen]
    if not ranked:
        return f"Every model has collapsed, so that its accuracy under {condition} says nothing."
    also = "".join(f" {one.legend} has collapsed and is left out." for one in fallen)
    where, best = f"on {_over(place, rows)}", ranked[0]
    if len(ranked) == 1:
        clean = best.clean[place.name].in_per_cent()
        return (
            f"{best.label} has {_percent(best, place)} robust accuracy under {condition} {where}, "
            f"of {clean} % on clean images.{also}"
        )
    lead = _lead(best, ranked[1], place, rows, parts)
    return f"{_sentence(ranked, place, where, lead)}{_limits(ranked[:2], rows)}.{also}"


def _sentence(ranked: Sequence[Series], place: Place, where: str, lead: Lead | None) -> str:
    best, following = ranked[0], ranked[1]
    first, second = (f"{_percent(one, place)}" for one in ranked[:2])
    rank = "the second, " if len(ranked) > 2 else ""
    if lead is None:
        return (
            f"{best.legend} has the highest robust accuracy {where}, {first}, and "
            f"{following.legend} the next, {second}; the difference was not tested"
        )
    if lead.significant:
        return (
            f"{best.legend} has the highest robust accuracy {where}: {first}, significantly more "
            f"than {rank}{following.legend} with {second}, by {lead}"
        )
    return (
        f"No model is shown to be the most robust {where}: {best.legend} has {first}, "
        f"{following.legend} {second}, and their difference of {lead} is not significant"
    )


def _limits(compared: Sequence[Series], rows: Sequence[Row]) -> str:
    """The attack, and what the sentence does not say: another seed, a stronger attack."""
    limits = [f"under {rows[0].condition}"]
    if not any(row.after_part for row in rows):
        limits[0] += ", an upper bound"
    if any(len(one.models) == 1 and one.method != "original" for one in compared):
        limits.append("one training run per method")
    return f" ({'; '.join(limits)})"


def _percent(one: Series, place: Place) -> str:
    accuracy, _, interval = one.robust[place.name].in_per_cent().partition(" ")
    return f"{accuracy} % {interval}"


def _over(place: Place, rows: Sequence[Row]) -> str:
    sets = list(dict.fromkeys(row.dataset for row in rows))
    return f"the {place.name} sets" if len(sets) > 1 else sets[0]


def _lead(
    best: Series,
    following: Series,
    place: Place,
    rows: Sequence[Row],
    parts: Mapping[str, Sequence[ModelResults]],
) -> Lead | None:
    """None where it cannot be tested: no outcomes, other samples, or seeds that have no pairs."""
    first, second = list(best.models), list(following.models)
    seeds = max(len(first), len(second))
    if {len(first), len(second)} > {1, seeds}:
        return None
    seen = {row.dataset for row in rows if row.seen}
    sets = dict.fromkeys(
        row.dataset for row in rows if not (place.over == "unseen" and row.dataset in seen)
    )
    condition, read = rows[0].condition, cache(EvaluatedRun.read)
    pairs = zip(second * (seeds // len(second)), first * (seeds // len(first)), strict=True)
    try:
        found = [
            difference_of([_samples(parts[a], parts[b], one, condition, read) for one in sets])
            for a, b in pairs
        ]
    except RequestError:
        return None
    low, high = seeds_interval([one.difference for one in found], [one.interval for one in found])
    return Lead(
        points=100 * float(np.mean([one.difference for one in found])),
        interval=(100 * low, 100 * high),
        p=found[0].p if seeds == 1 else None,
    )


def _samples(
    first: Sequence[ModelResults],
    second: Sequence[ModelResults],
    dataset: str,
    condition: str,
    read: Callable[[Path], EvaluatedRun],
) -> SamplesOfTwo:
    """What two models kept of the same samples of a set.

    Raises:
        RequestError: if the outcomes are not there, or are of other samples.
    """
    (a, row_a), (b, row_b) = (_row(parts, dataset, condition, read) for parts in (first, second))
    if a.right(row_a)[0] != b.right(row_b)[0]:
        raise RequestError(f"{row_a.model} and {row_b.model} are not of the same samples")
    return samples_of_two(a, row_a, b, row_b)


def _row(
    parts: Sequence[ModelResults],
    dataset: str,
    condition: str,
    read: Callable[[Path], EvaluatedRun],
) -> tuple[EvaluatedRun, Row]:
    for part in parts:
        for row in part.rows:
            if (row.dataset, row.condition) == (dataset, condition):
                return read(Path(part.run)), row
    raise RequestError(f"there is no result on {dataset} under {condition}")
