"""What every replication is: jobs to do, and comparisons to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.kept import evaluated_before
from zsrobust.sweep.jobs import Job, Training
from zsrobust.sweep.plan import Form, Sweep

KEPT = "results"
"""Folder of the small files that are enough to show all again."""


@dataclass(frozen=True)
class Stage:
    """A comparison.

    Attributes:
        sweep: its runs.
        titles: of its recipes, in their order.
        reference: title of the one that the others are compared with.
    """

    sweep: Sweep
    titles: Sequence[str]
    reference: str

    def interpolated(self, recipes: Sequence[str], shares: Sequence[float]) -> Stage:
        """With models partway from the original to those of some recipes, too (WiSE-FT).

        Args:
            recipes: which.
            shares: of the fine-tuned weights.
        """
        named = dict(zip(self.sweep.recipes, self.titles, strict=True))
        forms, titles = {}, []
        for recipe in recipes:
            for share in shares:
                forms[f"{recipe}-wise-{share:g}"] = Form(recipe, f"wise({{}}, {share:g})")
                titles.append(f"{named[recipe]}, WiSE-FT at {share:g}")
        made = {name: self.sweep.recipes[form.of] for name, form in forms.items()}
        sweep = replace(self.sweep, recipes={**self.sweep.recipes, **made}, forms=forms)
        return replace(self, sweep=sweep, titles=[*self.titles, *titles])


class Experiment(Protocol):
    """A replication in one folder."""

    @property
    def out(self) -> Path:
        """The folder."""
        ...

    def jobs(self) -> list[Job]:
        """All that is to be done, as far as it is known by now."""
        ...

    def stages(self) -> dict[str, Stage]:
        """The comparisons by name; none before it is known what they consist of."""
        ...

    def tables(self) -> dict[str, TextTable]:
        """What there is to show before the comparisons, by title."""
        ...

    def keep(self) -> None:
        """Write to ``KEPT`` what :meth:`stages` and :meth:`tables` need."""
        ...


def jobs_of(experiment: Experiment) -> list[Job]:
    """The runs of every comparison that the kept files do not answer.

    A model is evaluated in every way before the next is trained, so what is cut off is whole as
    far as it goes.
    """
    jobs: list[Job] = []
    for name, stage in experiment.stages().items():
        before = evaluated_before(experiment.out / KEPT / name, stage.sweep.evaluation)
        jobs += stage.sweep.jobs(without=before)
    return sorted(jobs, key=lambda job: isinstance(job, Training))
