"""A difference of two models' accuracies, with its interval and p-value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

import numpy as np

from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Row
from zsrobust.evaluation.statistics import (
    BOOTSTRAP_SEED,
    DRAWS,
    Interval,
    Outcome,
    percentile_interval,
)
from zsrobust.evaluation.two_phase.estimate import Estimate, Stratum, estimate


@dataclass(frozen=True)
class Difference:
    """The second model against the first.

    Attributes:
        first, second: their accuracies in [0, 1].
        interval: 95 % interval of ``second - first``.
        p: how often chance alone makes a difference at least as large, in (0, 1].
    """

    first: float
    second: float
    interval: Interval
    p: float

    @property
    def difference(self) -> float:
        """``second - first``, in [-1, 1]."""
        return self.second - self.first


def paired_difference(
    first: Sequence[Outcome], second: Sequence[Outcome], weights: Sequence[float] | None = None
) -> Difference:
    """Difference of the means of accuracies over one or more sets, samples paired.

    The interval is a percentile bootstrap of 10,000 draws over pairs within each set. Each of the
    four kinds of pairs (both right, either, neither) counts half a pair more than was seen (Agresti
    and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics
    in Medicine 2005), so that models that never disagree still have an interval.

    ``p`` is McNemar's: were the models equally good, each sample on which they disagree would be as
    likely to favour the one as the other. For one set it is the exact binomial test; for an
    average, the same chance is simulated 10,000 times in every set at once, so that p is at least
    1/10,001.

    Args:
        first, second: for each set, whether each sample is right, (N,) booleans, N >= 1, the same
            samples in the same order.
        weights: of each set, above 0, in proportion to each other; None for equal ones.
    """
    weights = weights or [1.0] * len(first)
    random = np.random.default_rng(BOOTSTRAP_SEED)
    draws, by_chance, exact = np.zeros(DRAWS), np.zeros(DRAWS), 1.0
    for weight, a, b in zip(weights, first, second, strict=True):
        n = len(a)
        gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
        kinds = np.array([gained, lost, (a & b).sum(), (~a & ~b).sum()]) + 0.5
        counts = random.multinomial(n, kinds / kinds.sum(), DRAWS)
        draws += weight * (counts[:, 0] - counts[:, 1]) / n
        disagree = gained + lost
        by_chance += weight * (2 * random.binomial(disagree, 0.5, DRAWS) - disagree) / n
        if len(first) == 1 and disagree:
            from scipy.stats import binomtest

            exact = float(binomtest(gained, disagree).pvalue)
    accuracies = [
        float(np.average([right.mean() for right in outcomes], weights=weights))
        for outcomes in (first, second)
    ]
    observed = abs(accuracies[1] - accuracies[0]) * sum(weights)
    # Sums of fractions that are equal on paper differ in the last bits.
    as_large = int((np.abs(by_chance) >= observed - 1e-12).sum())
    return Difference(
        first=accuracies[0],
        second=accuracies[1],
        interval=percentile_interval(draws / sum(weights)),
        p=exact if len(first) == 1 else (1 + as_large) / (1 + DRAWS),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: the k-th smallest of m times m - k + 1.

    Rejecting those below 0.05 bounds the family-wise error rate by 5 %
    (Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 1979).
    scipy corrects for the false discovery rate only; statsmodels has Holm's, but would be a further
    dependency for these lines alone.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


@dataclass(frozen=True)
class Estimated:
    """One data set where a robust accuracy is estimated from a part of the samples.

    Attributes:
        n: samples of the set.
        first, second: both accuracies.
        difference: estimated on the same drawn samples; None where they were drawn by themselves.
        population: what intervals are of; see :class:`zsrobust.evaluation.results.Sampling`.
    """

    n: int
    first: Estimate
    second: Estimate
    difference: Estimate | None
    population: bool

    def distances(self, level: float) -> tuple[float, float]:
        """From ``second - first`` to its limits.

        Without a common draw they are those of independent accuracies, which are too wide where
        models agree.
        """
        if self.difference is not None:
            return self.difference.distances(self.population, level)
        below, above = self.second.distances(self.population, level)
        less, more = self.first.distances(self.population, level)
        return hypot(below, more), hypot(above, less)

    def remark(self, row: Row) -> str:
        """What a reader of the difference has to know."""
        of = "the population" if self.population else "these images"
        if self.difference is not None:
            return (
                f"{row.condition} is a two-phase estimate: paired on the drawn samples, interval "
                f"of {of}"
            )
        return (
            f"{row.condition} is a two-phase estimate of samples that were not drawn for both "
            f"models together: not paired, interval of {of}; evaluate both in one run to pair them"
        )


SamplesOfTwo = tuple[Outcome, Outcome] | Estimated
"""Whether each sample of a set is right, of the first and of the second model; or an estimate."""


def samples_of_two(a: EvaluatedRun, row_a: Row, b: EvaluatedRun, row_b: Row) -> SamplesOfTwo:
    """What two rows of the same set, samples and attack stand for."""
    if row_a.sampling is None and row_b.sampling is None:
        return a.correct(row_a)[1], b.correct(row_b)[1]
    first, second = (_strata(run, row) for run, row in ((a, row_a), (b, row_b)))
    designs = {row.sampling and row.sampling.design for row in (row_a, row_b)}
    together = None
    if a.folder == b.folder and len(designs) == 1:
        together = estimate(a.strata([row_a, row_b]), row_a.n, (0, 1))
    return Estimated(
        n=row_a.n,
        first=estimate(first, row_a.n, (None, 0)),
        second=estimate(second, row_a.n, (None, 0)),
        difference=together,
        population={row.sampling.interval for row in (row_a, row_b) if row.sampling} != {"images"},
    )


def difference_of(
    sets: Sequence[SamplesOfTwo], weights: Sequence[float] | None = None
) -> Difference:
    """Difference of the means of accuracies over one or more sets, ``weights`` of each as above.

    Where one is an estimate, its interval joins those of all sets as in ``average_interval``, and
    p is one minus the level of confidence at which it begins to hold zero.
    """
    weights = weights or [1.0] * len(sets)
    plain = [one for one in sets if isinstance(one, tuple)]
    if len(plain) == len(sets):
        of_first, of_second = zip(*plain, strict=True)
        return paired_difference(of_first, of_second, weights)
    found = [_all_attacked(*one) if isinstance(one, tuple) else one for one in sets]
    first, second = (
        float(np.average([getattr(one, of).value for one in found], weights=weights))
        for of in ("first", "second")
    )

    def interval(level: float) -> Interval:
        distances = np.array([one.distances(level) for one in found])
        below, above = (hypot(*(side * weights)) / sum(weights) for side in distances.T)
        return second - first - below, second - first + above

    def holds_zero(level: float) -> bool:
        low, high = interval(level)
        return low <= 0 <= high

    least, most = 0.0, 1.0
    for _ in range(P_SEARCH):
        level = (least + most) / 2
        least, most = (least, level) if holds_zero(level) else (level, most)
    return Difference(first, second, interval(0.95), 1 - least)


P_SEARCH = 20
"""Halvings of the level: p is exact to 1e-6, and never below."""


def _strata(run: EvaluatedRun, row: Row) -> Sequence[Stratum]:
    return run.strata([row]) if row.sampling else _attacked_strata(run.correct(row)[1])


def _all_attacked(first: Outcome, second: Outcome) -> Estimated:
    """Outcomes of every sample as an estimate."""
    n = len(first)
    return Estimated(
        n=n,
        first=estimate(_attacked_strata(first), n, (None, 0)),
        second=estimate(_attacked_strata(second), n, (None, 0)),
        difference=estimate(_attacked_strata(first, second), n, (0, 1)),
        population=True,
    )


def _attacked_strata(*right: Outcome) -> list[Stratum]:
    """Strata of samples that were all attacked, by which models stand."""
    strata = []
    patterns, counts = np.unique(np.array(right), axis=1, return_counts=True)
    for pattern, size in zip(patterns.T, counts.tolist(), strict=True):
        if pattern.any():
            stands = np.ones((len(right), size), dtype=np.int64)
            strata.append(Stratum(tuple(map(bool, pattern)), size, (size,), stands))
    return strata
