"""Two models on the same samples: how much they differ, and whether that can be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsrobust.evaluation.statistics import (
    BOOTSTRAP_SEED,
    DRAWS,
    Interval,
    Outcome,
    percentile_interval,
)


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


def paired_difference(first: Sequence[Outcome], second: Sequence[Outcome]) -> Difference:
    """Difference of the plain means of accuracies over one or more sets, samples paired.

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
    """
    random = np.random.default_rng(BOOTSTRAP_SEED)
    draws, by_chance, exact = np.zeros(DRAWS), np.zeros(DRAWS), 1.0
    for a, b in zip(first, second, strict=True):
        n = len(a)
        gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
        kinds = np.array([gained, lost, (a & b).sum(), (~a & ~b).sum()]) + 0.5
        counts = random.multinomial(n, kinds / kinds.sum(), DRAWS)
        draws += (counts[:, 0] - counts[:, 1]) / n
        disagree = gained + lost
        by_chance += (2 * random.binomial(disagree, 0.5, DRAWS) - disagree) / n
        from scipy.stats import binomtest

        exact = binomtest(gained, disagree).pvalue if disagree else 1.0
    sets = len(first)
    accuracies = [
        float(np.mean([right.mean() for right in outcomes])) for outcomes in (first, second)
    ]
    observed = abs(accuracies[1] - accuracies[0]) * sets
    # Sums of fractions that are equal on paper differ in the last bits.
    as_large = int((np.abs(by_chance) >= observed - 1e-12).sum())
    return Difference(
        first=accuracies[0],
        second=accuracies[1],
        interval=percentile_interval(draws / sets),
        p=float(exact) if sets == 1 else (1 + as_large) / (1 + DRAWS),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: the k-th smallest of m times m - k + 1.

    Whoever calls those below 0.05 real is wrong about any of them in at most 5 % of cases
    (Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 1979).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted
