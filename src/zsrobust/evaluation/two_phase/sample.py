"""Which samples of a data set the later parts of an ensemble are run on, and what they find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from zsrobust.attacks.ensemble import Ensemble
from zsrobust.attacks.library import LibraryAttack
from zsrobust.data.split import keyed_order
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.outcomes import Draw, Outcomes
from zsrobust.evaluation.progress import EvaluationProgress
from zsrobust.evaluation.two_phase.estimate import Stratum
from zsrobust.evaluation.two_phase.plan import pilot_size

ESTIMATOR = "two-phase"
PIECE = LibraryAttack.chunk
"""Drawn samples computed and cached at a time."""

Tested = list[tuple[int, ...]]
"""For each stratum of a data set, how many of its samples each later part takes."""


@dataclass(frozen=True)
class Task:
    """Drawn samples of one cell.

    Attributes:
        cell, attack: the model on its data set, and the ensemble.
        first: outcomes of all samples under the ensemble's first part.
        todo: places of drawn samples, and for how many of the later parts each is drawn.
    """

    cell: Cell
    attack: Ensemble
    first: Outcomes
    todo: list[tuple[int, int]]

    @property
    def places(self) -> list[int]:
        """Those of the samples."""
        return [place for place, _ in self.todo]

    @property
    def done(self) -> bool:
        """Whether their outcomes are on disk."""
        return self.cell.on_disk(self._name) is not None

    def result(self, progress: EvaluationProgress | None = None) -> Outcomes:
        """Their outcomes; what is on disk is not computed again."""
        work = None if progress is None else self.cell.work_in(progress, self.attack)
        compute = partial(self._computed, progress)
        return self.cell.cached(self._name, len(self.todo), compute, progress, work)

    def expect(self, progress: EvaluationProgress) -> None:
        """Say that they are to be computed."""
        parts = self.attack.parts[1:]
        model, dataset = self.cell.model.name, self.cell.images.name
        work = self.cell.work_in(progress, self.attack) or progress.work(
            model, dataset, self.attack, parts=parts
        )
        work.add(self._name, [sum(many > at for _, many in self.todo) for at in range(len(parts))])

    @property
    def _name(self) -> str:
        what = [ESTIMATOR, self.attack.describe(), self.todo]
        return f"{self.cell.key_of(what)}/drawn"

    def _computed(self, progress: EvaluationProgress | None) -> Outcomes:
        outcomes = self.first.at(self.places)
        for number, part in enumerate(self.attack.parts[1:]):
            chosen = [at for at, (_, parts) in enumerate(self.todo) if parts > number]
            before, places = outcomes.at(chosen), [self.places[at] for at in chosen]
            outcomes = outcomes.with_at(
                chosen, self.cell.measurement.attacked(part, before, places, progress)
            )
        return outcomes


class Drawing:
    """One data set: its strata, and the order in which samples are drawn from them.

    Attributes:
        cells: the models on it, each with the ensemble as it is defined there.
        first: outcomes of each model under the first part.
        stands: for each stratum, whether each model stands on its samples.
        order: for each stratum, places of its samples, the first to be drawn first.
        drawn: how many are drawn for each part; the pilot's until :meth:`draw`.
    """

    def __init__(self, cells: Sequence[tuple[Cell, Ensemble]], seed: int) -> None:
        self.cells = cells
        self.first = [cell.attacked(cell.on_all(attack)) for cell, attack in cells]
        self.n = len(self.first[0].labels)
        # One random number a sample, the same for all models and attacks.
        order = np.array(keyed_order(self.first[0].sample_ids, seed, ESTIMATOR))
        right = np.array([outcomes.right for outcomes in self.first], dtype=bool)[:, order]
        patterns, found = np.unique(right, axis=1, return_inverse=True)
        standing = [at for at, pattern in enumerate(patterns.T) if pattern.any()]
        self.stands = [tuple(map(bool, patterns[:, at])) for at in standing]
        self.order = [order[found.reshape(-1) == at].tolist() for at in standing]
        self.parts = cells[0][1].parts[1:]
        pilot = [(pilot_size(len(places)),) * len(self.parts) for places in self.order]
        self.pilot: Tested = pilot
        self.drawn: Tested = pilot

    def tasks(self) -> list[Task]:
        """All that is drawn, the pilot first."""
        nothing = [(0,) * len(self.parts) for _ in self.order]
        stages = [(nothing, self.pilot), (self.pilot, self.drawn)]
        return [task for before, drawn in stages for task in self._tasks(before, drawn)]

    def _tasks(self, before: Tested, drawn: Tested) -> Iterator[Task]:
        for model, (cell, attack) in enumerate(self.cells):
            todo = [
                (place, sum(size > rank for size in sizes))
                for stands, places, sizes, earlier in zip(
                    self.stands, self.order, drawn, before, strict=True
                )
                for rank, place in enumerate(places[: sizes[0]])
                if stands[model] and rank >= earlier[0]
            ]
            # Samples of as many parts next to each other, so that batches stay full.
            todo.sort(key=lambda one: (-one[1], one[0]))
            for start in range(0, len(todo), PIECE):
                yield Task(cell, attack, self.first[model], todo[start : start + PIECE])

    @property
    def after(self) -> list[Outcomes]:
        """Each model's outcomes; what was not drawn stands as far as it was attacked."""
        after = dict(zip((id(cell) for cell, _ in self.cells), self.first, strict=True))
        for task in self.tasks():
            found = after[id(task.cell)]
            after[id(task.cell)] = found.with_at(task.places, task.result())
        return list(after.values())

    def strata(self) -> tuple[Stratum, ...]:
        """What was found."""
        names = [part.name for part in self.parts]
        # What fell before the later parts is in no stratum of its model: any number does.
        fell_at = np.array(
            [
                [names.index(name) if name in names else len(names) for name in outcomes.fell_to]
                for outcomes in self.after
            ]
        )
        return tuple(
            Stratum(stands, len(places), sizes, fell_at[:, places[: sizes[0]]])
            for stands, places, sizes in zip(self.stands, self.order, self.drawn, strict=True)
        )

    @property
    def draw(self) -> Draw:
        """What was drawn."""
        stratum: list[int | None] = [None] * self.n
        parts = [0] * self.n
        for number, (places, sizes) in enumerate(zip(self.order, self.drawn, strict=True)):
            for rank, place in enumerate(places):
                stratum[place] = number
                parts[place] = sum(size > rank for size in sizes)
        return Draw(stratum, parts)
