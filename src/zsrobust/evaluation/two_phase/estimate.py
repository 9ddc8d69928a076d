"""Robust accuracies, their differences and their intervals from a sample in two phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import hypot

import numpy as np
from numpy.typing import NDArray

from zsrobust.evaluation.statistics import Interval

Falls = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stratum:
    """Samples of one data set on which the same models stand the first part of the ensemble.

    Attributes:
        stands: of each of the K models, whether it stands on these samples.
        size: how many samples there are, 1 or more.
        tested: for each of the P later parts, how many of them it was run on, 1 or more, not
            increasing. They are the first ones in a random order, so that the samples of a part are
            among those of the part before.
        fell_at: (K, tested[0]), for each model and sample in that order: the later part that the
            model fell to (0 to P - 1), or P where it stands as far as it was attacked.
    """

    stands: tuple[bool, ...]
    size: int
    tested: tuple[int, ...]
    fell_at: NDArray[np.int64]


@dataclass(frozen=True)
class Phase:
    """Later parts that were run on the same samples of one stratum.

    Attributes:
        weight: the stratum's share of the data set.
        size: samples of the stratum.
        tested: how many of them the parts were run on.
        lost: falls of the second model, without those of the first; None where it stands nowhere.
        gained: falls of the first model, without those of the second; None likewise.
    """

    weight: float
    size: int
    tested: int
    lost: float | None
    gained: float | None = None


@dataclass(frozen=True)
class Estimate:
    """A robust accuracy of one data set, or the difference of a second model's and a first one's.

    An accuracy is the difference to a model that stands nowhere.

    Attributes:
        n: samples of the data set.
        first, second: shares of them on which only the first, or only the second model stands the
            first part of the ensemble.
        phases: of every stratum on which either stands.
        bounds: the least and the most that these images can give, whatever was not attacked.
        paired: whether it is a difference.
    """

    n: int
    first: float
    second: float
    phases: tuple[Phase, ...]
    bounds: Interval
    paired: bool

    @property
    def value(self) -> float:
        """The estimate: in [0, 1], or in [-1, 1] for a difference."""
        second, first = self._alone
        return min(max(second - first, self.bounds[0]), self.bounds[1])

    def distances(self, population: bool, level: float = 0.95) -> tuple[float, float]:
        """Distances from the estimate to its lower and upper limit.

        The falls of each phase are binomial, with Clopper-Pearson limits that the finite population
        correction moves towards the estimate: they disappear where all samples are attacked. For
        the population, the limits of the accuracy as if all had been attacked come on top. The
        distances are joined as variances add up (MOVER, see ``average_interval``).

        Args:
            population: whether the limits are of the population that the images come from, or of
                these images.
            level: confidence, in (0, 1).
        """
        below, above = self._of_phases(level)
        value, (least, most) = self.value, self.bounds
        if population:
            more_below, more_above = self._of_images(level)
            below, above = hypot(below, more_below), hypot(above, more_above)
            least, most = (-1.0 if self.paired else 0.0), 1.0
        return min(below, value - least), min(above, most - value)

    @property
    def _alone(self) -> tuple[float, float]:
        """Estimated shares on which only the second, and only the first model stands in the end."""
        second, first = self.second, self.first
        for phase in self.phases:
            share = phase.weight / phase.tested
            if phase.gained is None:
                second -= share * (phase.lost or 0.0)
            elif phase.lost is None:
                first -= share * phase.gained
            else:
                second += share * phase.gained
                first += share * phase.lost
        return max(second, 0.0), max(first, 0.0)

    def _of_phases(self, level: float) -> tuple[float, float]:
        if not self.phases:
            return 0.0, 0.0
        columns = [(p.weight, p.size, p.tested, p.gained, p.lost) for p in self.phases]
        weight, size, tested, gained, lost = np.array(columns, dtype=float).T
        weight = weight * np.sqrt(1 - tested / size)
        below, above = _difference_distances(gained, lost, tested, level)
        return float(np.linalg.norm(weight * below)), float(np.linalg.norm(weight * above))

    def _of_images(self, level: float) -> tuple[float, float]:
        second, first = self._alone if self.paired else (self.value, np.nan)
        counts = np.array([second, first]) * self.n
        below, above = _difference_distances(counts[:1], counts[1:], np.array([self.n]), level)
        return float(below[0]), float(above[0])


def exact_limits(x: Floats, n: Floats, level: float) -> tuple[Floats, Floats]:
    """Clopper-Pearson limits of ``x / n``, for counts that need not be whole.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 1934; with an estimated count as Korn and Graubard use them for surveys
    ("Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data", Survey Methodology 1998).
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    x = np.minimum(np.maximum(x, 0), n)
    low = betaincinv(np.maximum(x, 1e-12), n - x + 1, tail)
    high = betaincinv(x + 1, np.maximum(n - x, 1e-12), 1 - tail)
    return np.where(x > 0, low, 0.0), np.where(x < n, high, 1.0)


def _difference_distances(
    gained: Floats, lost: Floats, n: Floats, level: float
) -> tuple[Floats, Floats]:
    """Distances to the limits of ``(gained - lost) / n``, two exclusive outcomes of n samples.

    A count of nan stands for an outcome that there is not.
    """
    counts = np.array([gained, lost])
    never = np.isnan(counts)
    counts[never] = 0
    low, high = exact_limits(counts, n, level)
    shares = counts / n
    gain_below, loss_below = np.where(never, 0, shares - low)
    gain_above, loss_above = np.where(never, 0, high - shares)
    gain, loss = shares
    # Of exclusive outcomes one is rarer where the other is frequent.
    odds = gain * loss / np.maximum((1 - gain) * (1 - loss), 1e-12)
    correlation = np.sqrt(np.minimum(odds, 1))
    below = np.sqrt(gain_below**2 + loss_above**2 + 2 * correlation * gain_below * loss_above)
    above = np.sqrt(gain_above**2 + loss_below**2 + 2 * correlation * gain_above * loss_below)
    return below, above


Target = tuple[int | None, int]
"""Places of a difference's first and second model; of None and a model for its accuracy."""

Counts = Callable[[int, int, int], tuple[float | None, float | None]]
"""A stratum's place, a phase's first part and the one after it, to what was lost and gained."""


def estimate(strata: Sequence[Stratum], n: int, target: Target) -> Estimate:
    """The accuracy or the difference of ``target`` on a data set of ``n`` samples."""

    def counts(at: int, start: int, end: int) -> tuple[float | None, float | None]:
        return count_falls(strata[at], target, range(start, end))

    tested = [stratum.tested for stratum in strata]
    found = make_estimate(strata, n, target, tested, counts)
    bounds = [_bounds(stratum, target) for stratum in strata]
    least, most = (sum(of) / n for of in zip(*bounds, strict=True)) if bounds else (0.0, 0.0)
    return replace(found, bounds=(least, most))


def make_estimate(
    strata: Sequence[Stratum],
    n: int,
    target: Target,
    tested: Sequence[Sequence[int]],
    counts: Counts,
) -> Estimate:
    """The estimate of ``counts`` when so many samples of each stratum were ``tested``."""
    alone, phases = [0, 0], []
    for at, stratum in enumerate(strata):
        stands = stands_in(stratum, target)
        if not any(stands):
            continue
        if not all(stands):
            alone[stands.index(True)] += stratum.size
        for start, end in runs(tested[at]):
            lost, gained = counts(at, start, end)
            phases.append(Phase(stratum.size / n, stratum.size, tested[at][start], lost, gained))
    paired = target[0] is not None
    bounds = (-1.0 if paired else 0.0), 1.0
    return Estimate(n, alone[0] / n, alone[1] / n, tuple(phases), bounds, paired)


def count_falls(
    stratum: Stratum, target: Target, parts: range
) -> tuple[float | None, float | None]:
    """Falls to ``parts``, which were run on the same samples, as in :class:`Phase`."""
    tested = stratum.tested[parts.start]
    gained, lost = (
        np.isin(stratum.fell_at[model, :tested], parts) if stands and model is not None else None
        for model, stands in zip(target, stands_in(stratum, target), strict=True)
    )
    return _without(lost, gained), _without(gained, lost)


def runs(tested: Sequence[int]) -> list[tuple[int, int]]:
    """The phases: first part, and the one after the last, of those run on equally many samples."""
    starts = [at for at in range(len(tested)) if at == 0 or tested[at] != tested[at - 1]]
    return list(zip(starts, [*starts[1:], len(tested)], strict=True))


def stands_in(stratum: Stratum, target: Target) -> list[bool]:
    """Whether the first, and the second model of ``target`` stands the first part there."""
    return [model is not None and stratum.stands[model] for model in target]


def _without(one: Falls | None, other: Falls | None) -> float | None:
    if one is None:
        return None
    return float((one if other is None else one & ~other).sum())


def _bounds(stratum: Stratum, target: Target) -> tuple[int, int]:
    """The least and the most samples of a stratum by which the second model is ahead."""
    least = most = 0
    for sign, model, stands in zip((-1, 1), target, stands_in(stratum, target), strict=True):
        if not stands:
            continue
        fallen = stratum.fell_at[model] < len(stratum.tested)
        certain = int((~fallen[: stratum.tested[-1]]).sum())
        possible = stratum.size - int(fallen.sum())
        least += certain if sign > 0 else -possible
        most += possible if sign > 0 else -certain
    return least, most
