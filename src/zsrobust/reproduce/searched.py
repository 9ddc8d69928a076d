"""A replication with learning rates searched for: two comparisons, ablations, AutoAttack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from zsrobust.config import FinetuneConfig
from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import Stage, jobs_of
from zsrobust.reproduce.methods import METHODS, PAPER, TECOA, ablations
from zsrobust.reproduce.search import Search, recipe_name
from zsrobust.reproduce.world import World
from zsrobust.sweep.cost import passes_per_step, steps_for
from zsrobust.sweep.jobs import Job


@dataclass(frozen=True)
class Searched:
    """All runs of one world, in one folder.

    Attributes:
        world: every number.
        out: the folder.
    """

    world: World
    out: Path

    @cached_property
    def search(self) -> Search:
        """Of every method's rate."""
        return Search(METHODS, self.world, self.out)

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
        """The comparisons, once every method's search has ended."""
        rates = self.search.rates()
        if not rates:
            return {}
        world = self.world
        sweep = self.search.sweep(METHODS, world.pgd, world.seeds)
        equal_steps = sweep.recipes
        reference = recipe_name(PAPER, rates[PAPER.name])
        changed = ablations(world.base, rates[PAPER.name])
        ablated = {reference: equal_steps[reference]}
        ablated |= {f"{reference}-{change}": config for change, config in changed.items()}
        passes = _in_equal_passes(equal_steps, recipe_name(TECOA, rates[TECOA.name]))
        titles = [method.title for method in METHODS]
        return {
            "equal-steps": Stage(sweep, titles, TECOA.title),
            "equal-passes": Stage(replace(sweep, recipes=passes), titles, TECOA.title),
            "autoattack": Stage(sweep.under(world.autoattack, "autoattack"), titles, TECOA.title),
            "ablations": Stage(
                replace(sweep, recipes=ablated, seeds=world.seeds[:1]),
                [PAPER.title, *changed],
                PAPER.title,
            ),
        }


def _in_equal_passes(
    recipes: Mapping[str, FinetuneConfig], reference: str
) -> dict[str, FinetuneConfig]:
    """The recipes with as many passes as the reference takes, warm-up in proportion."""
    passes = (recipes[reference].steps or 0) * passes_per_step(recipes[reference])
    found = {}
    for name, config in recipes.items():
        steps = steps_for(passes, config)
        warmup = replace(config.optimizer, warmup_steps=steps // 10)
        # The reference itself is the run that is there already.
        found[name if steps == config.steps else f"{name}-steps-{steps}"] = replace(
            config, steps=steps, evaluate_every=steps, optimizer=warmup
        )
    return found
