"""How many samples each later part of an ensemble takes, from what a pilot has found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, hypot

import numpy as np
from numpy.typing import NDArray

from zsrobust.evaluation.two_phase.estimate import (
    Counts,
    Estimate,
    Floats,
    Stratum,
    Target,
    count_falls,
    make_estimate,
    stands_in,
)

PILOT = 20
"""Samples of a stratum that every part is run on beforehand, at least; all if there are fewer."""

PILOT_SHARE = 0.05
"""The least share of it: sizes that are fixed by too few samples miss what was asked for."""

SHRINKAGE = 2.0
"""How many samples the pilot's fall rate over all strata counts for in the rate of one."""

PRIOR = 0.5
"""Falls added to those of all strata, so that a part that felled nothing may fell something yet."""

LEAST_SHARE = 0.01
"""What is expected to be left of a stratum, at least: no part is free, nor its outcome certain."""

SEARCH = 12
"""Halvings of the logarithm of the sizes' scale, which lies within 1e6: to 0.4 % of it."""

UNREACHABLE = 1.1
"""Where attacking every sample leaves a wider interval than asked for, how much wider to accept."""

Sizes = NDArray[np.int64]
"""How many samples of each stratum, of all sets one after the other, each later part takes."""

Division = tuple[tuple[int, int], ...]
"""Phases: the first part of each, and the one after its last."""


@dataclass(frozen=True)
class SampledSet:
    """One data set after its pilot.

    Attributes:
        n: samples of the set.
        strata: those of its samples on which one model or more stands the first part.
    """

    n: int
    strata: tuple[Stratum, ...]


@dataclass(frozen=True)
class Plan:
    """The sizes, fixed once.

    Attributes:
        tested: the sizes, (S, P).
        half_width: that is expected of the widest interval.
        attainable: the same if every sample were attacked.
        passes: expected to be spent on all of it, the pilot included.
        all_passes: that attacking every sample would take.
    """

    tested: Sizes
    half_width: float
    attainable: float
    passes: float
    all_passes: float


def pilot_size(size: int) -> int:
    """How many of a stratum's samples every part is run on beforehand."""
    return min(size, max(PILOT, ceil(PILOT_SHARE * size)))


def half_width(estimates: Sequence[Estimate], population: bool) -> float:
    """Half the 95 % interval of the plain mean of ``estimates``, one a data set."""
    below, above = zip(*(one.distances(population) for one in estimates), strict=True)
    return (hypot(*below) + hypot(*above)) / 2 / len(estimates)


def make_plan(
    sets: Sequence[SampledSet],
    passes: Sequence[Sequence[float]],
    targets: Sequence[Target],
    asked: float,
    population: bool = True,
) -> Plan:
    """The cheapest sizes whose intervals are expected to be no wider than asked for.

    For every division of the later parts into phases, sizes are proportional to the square root of
    variance by cost (Neyman's allocation), with variances of the pilot's fall rates drawn towards
    their mean over all strata. What is smallest of them all is taken.

    Args:
        sets: after the pilot.
        passes: for each set, forwards and backwards that each later part takes a sample that
            stands; 0 for a part that there is not.
        targets: accuracies and differences whose averages over ``sets`` are to be known.
        asked: half of the 95 % interval's width, a fraction.
        population: as in :meth:`Estimate.distances`.
    """
    expected = _Expected(sets, passes, targets, population)
    everything = expected.everything
    attainable = expected.half_width(everything)
    goal = asked if attainable <= asked else attainable * UNREACHABLE
    best = everything
    for phases in _divisions(expected.parts) if len(everything) else ():
        sizes = expected.smallest(phases, goal)
        if expected.passes(sizes) < expected.passes(best):
            best = sizes
    return Plan(
        tested=best,
        half_width=expected.half_width(best),
        attainable=attainable,
        passes=expected.passes(best),
        all_passes=expected.passes(everything),
    )


def _divisions(parts: int) -> Iterator[Division]:
    """Every way to run the parts in phases, each phase as its first part and the one after it."""
    for count in range(parts):
        for cuts in combinations(range(1, parts), count):
            yield tuple(zip((0, *cuts), (*cuts, parts), strict=True))


class _Expected:
    """What is expected of sizes, from the pilot."""

    def __init__(
        self,
        sets: Sequence[SampledSet],
        passes: Sequence[Sequence[float]],
        targets: Sequence[Target],
        population: bool,
    ) -> None:
        self.sets, self.population, self.parts = sets, population, len(passes[0])
        self.strata = [stratum for one in sets for stratum in one.strata]
        self.weights = np.array([s.size / one.n / len(sets) for one in sets for s in one.strata])
        self.rates = {target: self._rates(target) for target in targets}
        by_stratum = [of for one, of in zip(sets, passes, strict=True) for _ in one.strata]
        self.cost = self._cost(np.array(by_stratum, dtype=float).reshape(-1, self.parts))

    def _rates(self, target: Target) -> tuple[Floats, Floats]:
        """Shares of each stratum's samples that each part makes lost, and gained: (S, P) both."""
        counts = np.zeros((2, len(self.strata), self.parts))
        tested = np.zeros((2, len(self.strata), 1))
        for at, stratum in enumerate(self.strata):
            for part in range(self.parts):
                for side, count in enumerate(count_falls(stratum, target, range(part, part + 1))):
                    if count is not None:
                        counts[side, at, part], tested[side, at] = count, stratum.tested[part]
        mean = (counts.sum(1, keepdims=True) + PRIOR) / (tested.sum(1, keepdims=True) + 1)
        lost, gained = np.where(tested > 0, (counts + SHRINKAGE * mean) / (tested + SHRINKAGE), 0.0)
        return lost, gained

    def _cost(self, passes: Floats) -> Floats:
        """Passes that a part takes a sample of each stratum, (S, P), all models together."""
        cost = np.zeros((len(self.strata), self.parts))
        models = len(self.strata[0].stands) if self.strata else 0
        for model in range(models):
            lost, _ = self._rates((None, model))
            before = np.cumsum(lost, axis=1) - lost
            stands = np.array([[stratum.stands[model]] for stratum in self.strata])
            cost += stands * np.clip(1 - before, LEAST_SHARE, 1) * passes
        return cost

    @property
    def everything(self) -> Sizes:
        """All samples."""
        sizes = [[stratum.size] * self.parts for stratum in self.strata]
        return np.array(sizes, dtype=np.int64).reshape(-1, self.parts)

    def passes(self, sizes: Sizes) -> float:
        """What ``sizes`` take."""
        return float((sizes * self.cost).sum())

    def half_width(self, sizes: Sizes) -> float:
        """The widest of all targets' intervals."""
        return max(
            half_width(self._estimates(target, sizes), self.population) for target in self.rates
        )

    def _estimates(self, target: Target, sizes: Sizes) -> list[Estimate]:
        lost, gained = self.rates[target]
        estimates, first = [], 0
        for one in self.sets:
            rows = slice(first, first + len(one.strata))
            first = rows.stop
            counts = _expected_counts(lost[rows], gained[rows], sizes[rows], one.strata, target)
            tested = sizes[rows].tolist()
            estimates.append(make_estimate(one.strata, one.n, target, tested, counts))
        return estimates

    def smallest(self, division: Division, goal: float) -> Sizes:
        """The smallest sizes in Neyman's ratios whose intervals have the half width ``goal``."""
        ratios = np.sqrt(self._variance(division) / (_by_phase(self.cost, division) + 1e-9))
        # Where all samples are taken, and where the pilot is enough.
        high = float((self.everything[:, :1] / ratios).max())
        low = high / 1e6
        for _ in range(SEARCH):
            middle = (low * high) ** 0.5
            if self.half_width(self._sizes(division, ratios * middle)) <= goal:
                high = middle
            else:
                low = middle
        return self._sizes(division, ratios * high)

    def _variance(self, division: Division) -> Floats:
        """Of each phase with one sample a stratum, of the target with the largest: (S, D)."""
        variances = []
        for of in self.rates.values():
            lost, gained = (_by_phase(one, division).clip(0, 1 - LEAST_SHARE) for one in of)
            variances.append(lost * (1 - lost) + gained * (1 - gained))
        found: Floats = np.max(variances, axis=0) * self.weights[:, None] ** 2
        return found

    def _sizes(self, division: Division, wanted: Floats) -> Sizes:
        """Whole sizes between the pilot's and all, no phase with more than the one before."""
        least = [[stratum.tested[0]] for stratum in self.strata]
        sizes = np.clip(np.ceil(wanted), least, self.everything[:, :1])
        sizes = np.minimum.accumulate(sizes, axis=1).astype(np.int64)
        return np.repeat(sizes, [end - start for start, end in division], axis=1)


def _by_phase(of: Floats, division: Division) -> Floats:
    return np.stack([of[:, start:end].sum(1) for start, end in division], axis=1)


def _expected_counts(
    lost: Floats, gained: Floats, sizes: Sizes, strata: Sequence[Stratum], target: Target
) -> Counts:
    def counts(at: int, start: int, end: int) -> tuple[float | None, float | None]:
        stands = stands_in(strata[at], target)
        a, b = (
            float(of[at, start:end].sum().clip(0, 1) * sizes[at, start]) for of in (lost, gained)
        )
        return (a if stands[1] else None), (b if stands[0] else None)

    return counts
