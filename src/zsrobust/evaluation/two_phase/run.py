"""Ensembles in two phases on every model and data set of an evaluation."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from zsrobust.attacks import Attack
from zsrobust.attacks.ensemble import Ensemble
from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.forecast import mean_cost
from zsrobust.evaluation.outcomes import Draw, Outcomes
from zsrobust.evaluation.progress import EvaluationProgress
from zsrobust.evaluation.results import Row, Sampling
from zsrobust.evaluation.two_phase.estimate import Stratum, Target, count_falls, estimate
from zsrobust.evaluation.two_phase.plan import (
    Plan,
    SampledSet,
    half_width,
    make_plan,
    pilot_size,
)
from zsrobust.evaluation.two_phase.sample import ESTIMATOR, Drawing
from zsrobust.utils.progress import format_seconds
from zsrobust.utils.units import format_radius

ASSUMED_FALLS = (0.15, 0.05)
"""Shares of the samples that stand the first part which are expected to fall to the next ones."""

HARDLY = 0.05
"""A smaller share of samples that stand is as none."""


@dataclass(frozen=True)
class Process:
    """One of the processes that share the work.

    Attributes:
        rank, world_size: which of how many.
        wait: returns once all have called it.
    """

    rank: int = 0
    world_size: int = 1
    wait: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class SampledCell:
    """What a model gives on a data set under an ensemble in two phases.

    Attributes:
        after: outcomes; samples that were not drawn stand as far as they were attacked.
        draw: which were drawn.
        strata: what was found in all models' strata.
        model: the model's place among them.
        sampling: for the results.
        parts: names of the ensemble's parts.
    """

    after: Outcomes
    draw: Draw
    strata: tuple[Stratum, ...]
    model: int
    sampling: Sampling
    parts: list[str]

    def row(self, row: Row) -> Row:
        """``row`` of the counts, with the estimate."""
        return with_estimate(
            replace(row, sampling=self.sampling), self.strata, self.model, self.parts
        )


def with_estimate(row: Row, strata: Sequence[Stratum], model: int, parts: Sequence[str]) -> Row:
    """``row`` of the counts and with ``sampling``, with the estimated accuracy under an ensemble.

    Args:
        row: of one model on one data set.
        strata: what was found there of all models that samples were drawn for.
        model: its place among them.
        parts: names of the ensemble's parts.
    """
    assert row.sampling is not None
    found = estimate(strata, row.n, (None, model))
    below, above = found.distances(row.sampling.interval == "population")
    standing = sum(stratum.size for stratum in strata if stratum.stands[model]) / row.n
    after_part = {parts[0]: standing}
    for number, name in enumerate(parts[1:]):
        standing -= _lost(strata, model, number) / row.n
        after_part[name] = max(standing, 0.0)
    return replace(
        row,
        robust_acc=found.value,
        ci95_robust=(found.value - below, found.value + above),
        after_part=after_part,
    )


def _lost(strata: Sequence[Stratum], model: int, part: int) -> float:
    """How many samples of the set are estimated to fall to a later part."""
    lost = 0.0
    for stratum in strata:
        fallen, _ = count_falls(stratum, (None, model), range(part, part + 1))
        lost += (fallen or 0.0) * stratum.size / stratum.tested[part]
    return lost


def run_in_two_phases(
    cells: Sequence[Cell],
    config: EvaluateConfig,
    progress: EvaluationProgress,
    process: Process = Process(),
) -> dict[tuple[int, int], SampledCell]:
    """Every ensemble on the samples that its plan draws; what is on disk is not computed again.

    Args:
        cells: computed, with each ensemble's first part.
        config: with ``half_width``.
        progress: told about it.
        process: which share of the work to do; all have the result.

    Returns:
        By the places of the cell, and of the ensemble among the cell's attacks.
    """
    found: dict[tuple[int, int], SampledCell] = {}
    for name, eps in _ensembles(cells):
        found |= _TwoPhases(cells, name, eps, config, progress, process).results()
    return found


def foresee(
    cells: Sequence[Cell], config: EvaluateConfig, progress: EvaluationProgress, processes: int = 1
) -> None:
    """Tell ``progress`` what the later parts of ensembles are expected to take.

    Before the first part has ended, from the samples that are expected to stand it; which of them
    fall is assumed. A model that hardly a sample stands in is left out.
    """
    for key, ensemble in _ensembles(cells).items():
        by_set: dict[str, list[Cell]] = {}
        for cell in cells:
            if any((one.name, float(one.threat.eps)) == key for one in cell.attacks):
                by_set.setdefault(cell.images.name, []).append(cell)
        sets = []
        for members in by_set.values():
            shares = [_share(cell, cell.on_all(ensemble), progress) for cell in members]
            stands = tuple(share >= HARDLY for share in shares)
            n = len(members[0].images)
            size = round(n * max(shares))
            drawn = (
                (assumed(stands, size, len(ensemble.parts) - 1),) if any(stands) and size else ()
            )
            sets.append(SampledSet(n, drawn))
        if config.half_width is None or not any(one.strata for one in sets):
            continue
        passes = [[part.passes for part in ensemble.parts[1:]]] * len(sets)
        places = range(max(map(len, by_set.values())))
        plan = make_plan(
            sets,
            passes,
            [(None, place) for place in places],
            config.half_width / 100,
            config.interval == "population",
        )
        progress.forecast.foreseen[key] = plan.passes * mean_cost(ensemble.parts[1:]) / processes


def _share(cell: Cell, first: Attack, progress: EvaluationProgress) -> float:
    """Of the samples of a cell, the share that is expected to stand the first part."""
    work = cell.work_in(progress, first)
    if work is None:
        return 0.0
    return progress.forecast.share(work, -1) * progress.forecast.share(work, 0)


def assumed(stands: tuple[bool, ...], size: int, parts: int) -> Stratum:
    """A stratum after a pilot as it is expected before there is one."""
    tested = pilot_size(size)
    fell_at = np.full((len(stands), tested), parts, dtype=np.int64)
    at = 0
    for part, share in enumerate(ASSUMED_FALLS[:parts]):
        count = round(share * tested)
        fell_at[:, at : at + count] = part
        at += count
    return Stratum(stands, size, (tested,) * parts, fell_at)


def _ensembles(cells: Sequence[Cell]) -> dict[tuple[str, float], Ensemble]:
    """Those that run in two phases, by name and radius."""
    return {
        (attack.name, float(attack.threat.eps)): attack
        for cell in cells
        for attack in cell.attacks
        if isinstance(attack, Ensemble) and attack != cell.on_all(attack)
    }


class _TwoPhases:
    """One ensemble at one radius."""

    def __init__(
        self,
        cells: Sequence[Cell],
        name: str,
        eps: float,
        config: EvaluateConfig,
        progress: EvaluationProgress,
        process: Process,
    ) -> None:
        self.config, self.progress, self.process = config, progress, process
        self.key = name, eps
        self.title = f"{name} {format_radius(config.norm, eps)}"
        by_set: dict[str, list[tuple[tuple[int, int], Cell, Ensemble]]] = {}
        for number, cell in enumerate(cells):
            for place, attack in enumerate(cell.attacks):
                same = (attack.name, float(attack.threat.eps)) == (name, eps)
                if same and isinstance(attack, Ensemble) and attack != cell.on_all(attack):
                    by_set.setdefault(cell.images.name, []).append(((number, place), cell, attack))
        self.members = list(by_set.values())
        self.drawings = [
            Drawing([(cell, attack) for _, cell, attack in members], config.seed)
            for members in self.members
        ]
        models = dict.fromkeys(cell.model.name for m in self.members for _, cell, _ in m)
        self.models = list(models)

    @property
    def targets(self) -> list[Target]:
        """What is to be known to the half width asked for."""
        places = range(len(self.models))
        if self.config.half_width_of == "difference" and len(self.models) > 1:
            return list(combinations(places, 2))
        return [(None, place) for place in places]

    def results(self) -> dict[tuple[int, int], SampledCell]:
        """The pilot, the plan and the rest; keyed as in ``run_in_two_phases``."""
        start = time.monotonic()
        self._say(self._before())
        self._foresee()
        pilot = self._compute()
        plan = self._plan([one.strata() for one in self.drawings])
        self.progress.forecast.foreseen.pop(self.key, None)
        self._say(self._expected(plan))
        sizes = iter(plan.tested.tolist())
        for drawing in self.drawings:
            # An ensemble of fewer parts on one set has none of the plan's last ones.
            drawing.drawn = [tuple(next(sizes)[: len(drawing.parts)]) for _ in drawing.drawn]
        rest = self._compute()
        found = {
            key: cell
            for members, drawing in zip(self.members, self.drawings, strict=True)
            for key, cell in zip((m[0] for m in members), self._cells(drawing), strict=True)
        }
        if pilot or rest:
            self._say(self._spent(plan, time.monotonic() - start))
        return found

    def _compute(self) -> bool:
        """Do this process's share of what is drawn; whether anything was left to do."""
        rank, world_size = self.process.rank, self.process.world_size
        todo = [task for one in self.drawings for task in one.tasks() if not task.done]
        self.process.wait()  # All have looked before any begins.
        mine = todo[rank::world_size]
        for task in mine:
            task.expect(self.progress)
        for task in mine:
            task.result(self.progress)
        self.process.wait()
        return bool(todo)

    def _foresee(self) -> None:
        """Tell what follows the pilot, from what falls are assumed."""
        plan = self._plan(
            [
                tuple(
                    assumed(stands, len(order), len(one.parts))
                    for stands, order in zip(one.stands, one.order, strict=True)
                )
                for one in self.drawings
            ]
        )
        pilot = sum(
            sizes[0] * sum(stands) * sum(part.passes for part in one.parts)
            for one in self.drawings
            for sizes, stands in zip(one.pilot, one.stands, strict=True)
        )
        parts = max((one.parts for one in self.drawings), key=len)
        passes = max(0.0, plan.passes - pilot) * mean_cost(parts)
        self.progress.forecast.foreseen[self.key] = passes / self.process.world_size

    def _plan(self, found: Sequence[tuple[Stratum, ...]]) -> Plan:
        parts = max(len(drawing.parts) for drawing in self.drawings)
        sets = [
            SampledSet(one.n, tuple(_padded(stratum, parts) for stratum in strata))
            for one, strata in zip(self.drawings, found, strict=True)
        ]
        passes = [
            [*(part.passes for part in one.parts), *[0.0] * (parts - len(one.parts))]
            for one in self.drawings
        ]
        population = self.config.interval == "population"
        assert self.config.half_width is not None
        return make_plan(sets, passes, self.targets, self.config.half_width / 100, population)

    def _cells(self, drawing: Drawing) -> list[SampledCell]:
        strata, draw = drawing.strata(), drawing.draw
        what = [cell.key(attack) for cell, attack in drawing.cells]
        text = json.dumps([what, drawing.drawn])
        return [
            SampledCell(
                after=after,
                draw=draw,
                strata=strata,
                model=place,
                sampling=Sampling(
                    estimator=ESTIMATOR,
                    interval=self.config.interval,
                    seed=self.config.seed,
                    design=hashlib.sha256(text.encode()).hexdigest()[:16],
                    standing=sum(s.size for s in strata if s.stands[place]),
                    tested={
                        part.name: sum(s.tested[at] for s in strata if s.stands[place])
                        for at, part in enumerate(drawing.parts)
                    },
                ),
                parts=[part.name for part in drawing.cells[place][1].parts],
            )
            for place, after in enumerate(drawing.after)
        ]

    def _say(self, line: str) -> None:
        self.progress.say(f"{self.title}: {line}")

    def _before(self) -> str:
        standing = sum(sum(map(len, one.order)) for one in self.drawings)
        pilot = sum(sizes[0] for one in self.drawings for sizes in one.pilot)
        first = self.drawings[0].cells[0][1].parts[0].name
        return (
            f"{first} ran on every sample; a pilot runs the other parts on {pilot:,} of "
            f"{standing:,} samples that a model stands it on"
        )

    def _expected(self, plan: Plan) -> str:
        drawn = plan.tested.sum(0)
        parts = max((one.parts for one in self.drawings), key=len)
        sizes = ", ".join(f"{part.name} {size:,}" for part, size in zip(parts, drawn, strict=True))
        asked = self.config.half_width
        assert asked is not None
        unreachable = (
            f"; ±{asked:g} points cannot be had of these images, all parts on all of them give "
            f"±{100 * plan.attainable:.2f}"
            if plan.attainable > asked / 100
            else ""
        )
        return (
            f"samples drawn: {sizes}, for ±{100 * plan.half_width:.2f} points{unreachable}; "
            f"{plan.passes:,.0f} forward and backward passes, {self._share(plan)} of those that "
            "all parts would take on all samples that stand"
        )

    def _spent(self, plan: Plan, seconds: float) -> str:
        population = self.config.interval == "population"
        found = max(
            half_width([estimate(one.strata(), one.n, target) for one in self.drawings], population)
            for target in self.targets
        )
        return f"±{100 * found:.2f} points in {format_seconds(seconds)}"

    @staticmethod
    def _share(plan: Plan) -> str:
        return f"{plan.passes / plan.all_passes:.0%}" if plan.all_passes else "all"


def _padded(stratum: Stratum, parts: int) -> Stratum:
    """The stratum with more parts, to which nothing falls."""
    own = len(stratum.tested)
    fell_at = np.where(stratum.fell_at == own, parts, stratum.fell_at)
    tested = (*stratum.tested, *[stratum.tested[-1]] * (parts - own))
    return replace(stratum, tested=tested, fell_at=fell_at)
