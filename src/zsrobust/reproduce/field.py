"""Every method of the field beside the others, and PMG-AFT with every adapter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import Stage, jobs_of
from zsrobust.reproduce.methods import ADAPTED, FIELD, PAPER, TECOA, Method
from zsrobust.reproduce.search import Search, recipe_name
from zsrobust.reproduce.world import World
from zsrobust.sweep.jobs import Job
from zsrobust.sweep.plan import Form, Sweep

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
        rates = self.search.rates()
        if not rates:
            return {}
        headline = self._of(self._best(), rates, TECOA, every_seed=True)
        autoattack = headline.sweep.under(self.world.autoattack, "autoattack")
        return {
            "methods": self._of(FIELD, rates, TECOA),
            "adapters": self._interpolated(self._of((PAPER, *ADAPTED), rates, PAPER), rates),
            "headline": headline,
            "headline-autoattack": replace(headline, sweep=autoattack),
        }

    def _best(self) -> list[Method]:
        scores = {name: max(found.values()) for name, found in self.search.scores().items()}
        return sorted(FIELD, key=lambda method: -scores[method.name])[:HEADLINE]

    def _of(
        self,
        methods: tuple[Method, ...] | list[Method],
        rates: dict[str, float],
        reference: Method,
        *,
        every_seed: bool = False,
    ) -> Stage:
        recipes = {
            recipe_name(method, rates[method.name]): method.of(self.world.base, rates[method.name])
            for method in methods
        }
        seeds = self.world.seeds if every_seed else self.world.seeds[:1]
        sweep = Sweep(recipes, seeds, self.world.pgd, self.out)
        return Stage(sweep, [method.title for method in methods], reference.title)

    def _interpolated(self, stage: Stage, rates: dict[str, float]) -> Stage:
        of = recipe_name(PAPER, rates[PAPER.name])
        forms = {f"{of}-wise-{share:g}": Form(of, f"wise({{}}, {share:g})") for share in SHARES}
        recipes = {**stage.sweep.recipes, **dict.fromkeys(forms, stage.sweep.recipes[of])}
        return replace(
            stage,
            sweep=replace(stage.sweep, recipes=recipes, forms=forms),
            titles=[*stage.titles, *(f"WiSE-FT, {share:g} of it" for share in SHARES)],
        )
