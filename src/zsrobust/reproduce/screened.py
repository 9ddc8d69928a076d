"""The search for a loss that does better than PMG-AFT: one change at a time, on sets named here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.candidates import CANDIDATES
from zsrobust.reproduce.experiment import Stage, jobs_of
from zsrobust.reproduce.methods import PAPER, PRESETS, TECOA
from zsrobust.reproduce.search import Search
from zsrobust.reproduce.world import World
from zsrobust.sweep.jobs import Job

CHOSEN_ON = ("glyph:small-letters", "glyph:zodiac", "glyph:shapes")
"""Named before anything was run. No other set of the suite has a say in what is chosen, and none of
these in what is reported of it."""
SHARE = 0.8
"""Of the fine-tuned weights, in the interpolation with the original that is looked at besides."""


@dataclass(frozen=True)
class Screened:
    """All runs in one folder.

    Attributes:
        world: every number.
        out: the folder.
        chosen_on: the sets that models are compared on.
    """

    world: World
    out: Path
    chosen_on: Sequence[str] = CHOSEN_ON

    @cached_property
    def search(self) -> Search:
        """Of every rate."""
        return Search((TECOA, *PRESETS, *CANDIDATES), self.world, self.out)

    def jobs(self) -> list[Job]:
        """The runs of the search, and once it has ended those of the comparison."""
        return [*self.search.jobs()] or jobs_of(self)

    def keep(self) -> None:
        """Write the scores."""
        self.search.keep()

    def tables(self) -> dict[str, TextTable]:
        """The search."""
        return {"learning rates": self.search.table()}

    def stages(self) -> dict[str, Stage]:
        """The comparison, once every search has ended: each model, and partway to the original."""
        if not self.search.rates():
            return {}
        evaluation = replace(self.world.pgd, data=list(self.chosen_on))
        sweep = self.search.sweep(self.search.methods, evaluation, self.world.seeds[:1])
        sweep = replace(sweep, evaluations="evaluations-screen")
        titles = [method.title for method in self.search.methods]
        stage = Stage(sweep, titles, PAPER.title)
        return {"screen": stage.interpolated(list(sweep.recipes), [SHARE])}
