"""``python -m benchmarks coverage``: how often intervals of two-phase estimates hold the truth.

Every draw of a cell takes images from a population, runs the pilot, makes the plan, takes what it
asks for and computes the interval, with the functions that ``zsrobust evaluate`` calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from zsrobust.evaluation.two_phase.estimate import Stratum, Target, estimate
from zsrobust.evaluation.two_phase.plan import Plan, SampledSet, make_plan, pilot_size

DRAWS = 10_000
SEED = 0
PASSES = (2000.0, 8000.0)
"""Of two later parts; about those of APGD-T, and of FAB-T and Square."""

FIRST_OF_TWO = 0.7
"""Share of the falls that the first of them finds."""

AGREEMENT = 0.7
"""Share of the samples on which two models stand or fall by the same draw."""

WIDTH = {"population": 1.3, "images": 0.6}
"""The half width asked for, in terms of that of attacking every image."""

COMMITTED = tuple(
    Path(f"docs/replication/{study}/results/autoattack") for study in ("photos", "glyphs")
)
"""Run folders whose outcomes are populations too."""

SIZES = (25, 100, 400, 2000)
RATES = (0.0, 0.02, 0.1, 0.3, 0.6)
GAPS = (0.0, 0.02, 0.1)

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    """Kinds of images that may be drawn.

    Attributes:
        share: (C,) of each kind.
        fell_at: (C, K) where each of K models falls: -1 before or to the first part, 0 or 1 to a
            later one, 2 nowhere.
    """

    share: NDArray[np.float64]
    fell_at: Ints

    def accuracy(self, model: int) -> float:
        """Robust accuracy of a model."""
        return float(self.share[self.fell_at[:, model] == len(PASSES)].sum())


def synthetic(rates: Sequence[float], gap: float) -> Population:
    """Models of robust accuracies ``rates`` that leave ``gap`` more after the first part."""
    outcomes = list(product(range(-1, 3), repeat=len(rates)))
    shared = _shares(rates, gap)
    if len(rates) == 1:
        return Population(np.array(shared[0]), np.array(outcomes))
    # One draw for both models, or one for each.
    edges = [np.cumsum([0.0, *reversed(of)]) for of in shared]
    together = [
        max(0.0, min(a[4 - i], b[4 - j]) - max(a[3 - i], b[3 - j]))
        for (i, j) in product(range(4), repeat=2)
        for a, b in [edges]
    ]
    apart = [shared[0][i] * shared[1][j] for i, j in product(range(4), repeat=2)]
    share = AGREEMENT * np.array(together) + (1 - AGREEMENT) * np.array(apart)
    return Population(share / share.sum(), np.array(outcomes))


def _shares(rates: Sequence[float], gap: float) -> list[list[float]]:
    first, second = FIRST_OF_TWO * gap, (1 - FIRST_OF_TWO) * gap
    return [[1 - rate - gap, first, second, rate] for rate in rates]


def committed(path: Path) -> Iterator[tuple[str, Population]]:
    """The outcomes of AutoAttack in a run folder, an empirical population a model that stands.

    APGD on the cross-entropy is the first part, targeted APGD the second.
    """
    table = pq.read_table(path / "outcomes.parquet").to_pydict()
    of_model: dict[str, list[str]] = {}
    for model, fell_to in zip(table["model"], table["fell_to"], strict=True):
        of_model.setdefault(model, []).append(fell_to)
    place = {"clean": -1, "apgd-ce": -1, "apgd-t": 0, "": 2}
    for model, found in of_model.items():
        fell_at = np.array([[place.get(name, 1)] for name in found])
        if (fell_at >= 0).any():
            yield model, Population(np.full(len(found), 1 / len(found)), fell_at)


@dataclass(frozen=True)
class Cell:
    """A line of the table.

    Attributes:
        name: what was drawn from.
        population: that.
        n: images.
        target: the accuracy, or the difference.
        interval: of the ``population`` or of the ``images``.
    """

    name: str
    population: Population
    n: int
    target: Target
    interval: str

    @property
    def truth(self) -> float:
        """In the population."""
        first, second = self.target
        less = 0.0 if first is None else self.population.accuracy(first)
        return self.population.accuracy(second) - less

    @property
    def asked(self) -> float:
        """The half width."""
        first, second = self.target
        shares = [self.population.accuracy(one) for one in (first, second) if one is not None]
        variance = sum(max(share, 0.01) * (1 - share) for share in shares)
        return WIDTH[self.interval] * 1.96 * float(np.sqrt(variance / self.n))


def cells() -> Iterator[Cell]:
    """All lines."""
    for n, rate, gap in product(SIZES, RATES, GAPS):
        for interval in WIDTH if n in (100, 2000) else ("population",):
            yield Cell("synthetic", synthetic([rate], gap), n, (None, 0), interval)
    for n, rate, gap, ahead in product((100, 400, 2000), (0.1, 0.3), (0.02, 0.1), (0.0, 0.05)):
        population = synthetic([rate, rate + ahead], gap)
        yield Cell("synthetic, difference", population, n, (0, 1), "population")
    for run in COMMITTED:
        for model, population in committed(run):
            yield Cell(
                f"{run.parent.parent.name}: {model}", population, 400, (None, 0), "population"
            )


def coverage(draws: int = DRAWS) -> Iterator[dict[str, object]]:
    """A row a cell."""
    return (covered(cell, draws) for cell in cells())


def covered(cell: Cell, draws: int) -> dict[str, object]:
    random = np.random.default_rng(SEED)
    plans: dict[bytes, Plan] = {}
    held = above = below = 0
    widths: list[float] = []
    drawn: list[float] = []
    events: list[float] = []
    for _ in range(draws):
        kinds = random.choice(len(cell.population.share), cell.n, p=cell.population.share)
        fell_at = cell.population.fell_at[kinds]
        piloted = SampledSet(cell.n, _strata(fell_at))
        # Plans follow from counts, which come again and again.
        key = b"".join(
            np.array([s.size, *np.bincount(_joint(s), minlength=9)]).tobytes() + bytes(s.stands)
            for s in piloted.strata
        )
        if key not in plans:
            population = cell.interval == "population"
            plans[key] = make_plan([piloted], [PASSES], [cell.target], cell.asked, population)
        strata = _strata(fell_at, plans[key].tested.tolist())
        found = estimate(strata, cell.n, cell.target)
        less, more = found.distances(cell.interval == "population")
        truth = cell.truth if cell.interval == "population" else _truth(fell_at, cell.target)
        low, high = found.value - less, found.value + more
        least = 0 if cell.target[0] is None else -1
        if not least <= low <= found.value <= high <= 1:
            raise ValueError(f"{cell.name}: {low}, {found.value}, {high}")
        below += truth < low - 1e-9
        above += truth > high + 1e-9
        held += low - 1e-9 <= truth <= high + 1e-9
        widths.append((high - low) / 2)
        standing = sum(s.size for s in strata)
        drawn.append(sum(s.tested[0] for s in strata) / standing if standing else 1.0)
        events.append(min((_events(s) for s in strata), default=0))
    return {
        "cell": cell.name,
        "n": cell.n,
        "truth": cell.truth,
        "gap": _gap(cell),
        "interval": cell.interval,
        "coverage": held / draws,
        "below": below / draws,
        "above": above / draws,
        "half_width": float(np.mean(widths)),
        "asked": cell.asked,
        "drawn": float(np.mean(drawn)),
        "events": float(np.mean(events)),
    }


def _gap(cell: Cell) -> float:
    """What the later parts fell, of all images; of the second model of a difference."""
    fell_at = cell.population.fell_at[:, cell.target[1]]
    return float(cell.population.share[(fell_at >= 0) & (fell_at < len(PASSES))].sum())


def _joint(stratum: Stratum) -> Ints:
    """One number a sample for where all models fall."""
    models = len(stratum.stands)
    stands = np.array(stratum.stands)[:, None]
    fell_at = np.where(stands, stratum.fell_at, 0)
    found: Ints = (fell_at * 3 ** np.arange(models)[:, None]).sum(0)
    return found


def _events(stratum: Stratum) -> float:
    """Falls, or samples that stand, whichever are fewer, of the model with the fewest."""
    fallen = [
        int((of < len(PASSES)).sum())
        for of, stands in zip(stratum.fell_at, stratum.stands, strict=True)
        if stands
    ]
    return min(min(count, stratum.tested[0] - count) for count in fallen)


def _strata(fell_at: Ints, tested: Sequence[Sequence[int]] | None = None) -> tuple[Stratum, ...]:
    """Images (n, K), drawn in their order; with the pilot's sizes unless others are given."""
    stands = fell_at >= 0
    strata: list[Stratum] = []
    for pattern in product((False, True), repeat=fell_at.shape[1]):
        places = np.flatnonzero((stands == pattern).all(1))
        if not any(pattern) or not len(places):
            continue
        pilot = (pilot_size(len(places)),) * len(PASSES)
        sizes = pilot if tested is None else tuple(tested[len(strata)])
        found = fell_at[places[: sizes[0]]].T.copy()
        # What the second part would find is not known where it was not run.
        late = found[:, sizes[1] :]
        late[late == 1] = len(PASSES)
        strata.append(Stratum(pattern, len(places), sizes, found))
    return tuple(strata)


def _truth(fell_at: Ints, target: Target) -> float:
    """Of these images."""
    right = (fell_at == len(PASSES)).mean(0)
    first, second = target
    return float(right[second] - (0.0 if first is None else right[first]))
