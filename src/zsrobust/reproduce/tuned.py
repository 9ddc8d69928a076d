"""What replications share that begin with the search for every method's learning rate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import Stage, jobs_of
from zsrobust.reproduce.methods import Method
from zsrobust.reproduce.search import Search
from zsrobust.reproduce.world import World
from zsrobust.sweep.jobs import Job


@dataclass(frozen=True)
class Tuned(ABC):
    """All runs of one question, in one folder.

    Attributes:
        world: every number but the rates.
        out: the folder.
    """

    world: World
    out: Path

    @abstractmethod
    def methods(self) -> Sequence[Method]:
        """Whose rates are searched for."""

    @abstractmethod
    def compared(self) -> dict[str, Stage]:
        """The comparisons, of methods at the rates that were found."""

    @cached_property
    def search(self) -> Search:
        """Of every rate."""
        return Search(self.methods(), self.world, self.out)

    def jobs(self) -> list[Job]:
        """The runs of the search, and once it has ended those of every comparison."""
        return [*self.search.jobs()] or jobs_of(self)

    def stages(self) -> dict[str, Stage]:
        """The comparisons, once every search has ended."""
        return self.compared() if self.search.rates() else {}

    def tables(self) -> dict[str, TextTable]:
        """The search."""
        return {"learning rates": self.search.table()}

    def keep(self) -> None:
        """Write the scores."""
        self.search.keep()
