"""Every method of the field beside the others, and PMG-AFT with every adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import Stage, jobs_of
from zsrobust.reproduce.methods import ADAPTED, FIELD, PAPER, TECOA, Method
from zsrobust.reproduce.search import Search
from zsrobust.reproduce.world import World
from zsrobust.sweep.jobs import Job

SHARES = (0.5, 0.8)
"""Of the fine-tuned weights, where they are interpolated with the original's (WiSE-FT)."""
HEADLINE = 5
"""Methods that are run with every seed and attacked with AutoAttack: the best on held-out images,
so that no set of the suite has a say in which they are."""


@dataclass(frozen=True)
class Field:
    """All runs in one folder.

    Attributes:
        world: every number.
        out: the folder.
    """

    world: World
    out: Path

    @cached_property
    def search(self) -> Search:
        """Of every rate."""
        return Search((*FIELD, *ADAPTED), self.world, self.out)

    def jobs(self) -> list[Job]:
        """The runs of the search, and once it has ended those of every comparison."""
        return [*self.search.jobs()] or jobs_of(self)

    def keep(self) -> None:
        """Write the scores."""
        self.search.keep()

    def tables(self) -> dict[str, TextTable]:
        """The search."""
        return {"learning rates": self.search.table()}

    def stages(self) -> dict[str, Stage]:
        """The comparisons, once every search has ended."""
        if not self.search.rates():
            return {}
        seeds = self.world.seeds
        headline = self._stage(self._best(), TECOA, seeds)
        adapters = self._stage((PAPER, *ADAPTED), PAPER, seeds[:1])
        autoattack = headline.sweep.under(self.world.autoattack, "autoattack")
        return {
            "methods": self._stage(FIELD, TECOA, seeds[:1]),
            "adapters": adapters.interpolated(list(adapters.sweep.recipes)[:1], SHARES),
            "headline": headline,
            "headline-autoattack": replace(headline, sweep=autoattack),
        }

    def _best(self) -> list[Method]:
        scores = {name: max(found.values()) for name, found in self.search.scores().items()}
        return sorted(FIELD, key=lambda method: -scores[method.name])[:HEADLINE]

    def _stage(self, methods: Sequence[Method], reference: Method, seeds: tuple[int, ...]) -> Stage:
        sweep = self.search.sweep(methods, self.world.pgd, seeds)
        return Stage(sweep, [method.title for method in methods], reference.title)
