"""A replication with learning rates searched for: two comparisons, ablations, AutoAttack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from zsrobust.config.schema import FinetuneConfig
from zsrobust.reproduce.experiment import Stage
from zsrobust.reproduce.methods import METHODS, PAPER, TECOA, Method, ablations
from zsrobust.reproduce.search import recipe_name
from zsrobust.reproduce.tuned import Tuned
from zsrobust.sweep.cost import passes_per_step, steps_for


@dataclass(frozen=True)
class Searched(Tuned):
    """The methods of the question, and one of them with one thing changed at a time.

    Attributes:
        asked: the methods, TeCoA and PMG-AFT (paper) among them.
    """

    asked: Sequence[Method] = METHODS

    def methods(self) -> Sequence[Method]:
        """Those of the question."""
        return self.asked

    def compared(self) -> dict[str, Stage]:
        """Equal steps, equal passes, AutoAttack, ablations."""
        rates = self.search.rates()
        world = self.world
        sweep = self.search.sweep(self.asked, world.pgd, world.seeds)
        equal_steps = sweep.recipes
        reference = recipe_name(PAPER, rates[PAPER.name])
        changed = ablations(world.base, rates[PAPER.name])
        ablated = {reference: equal_steps[reference]}
        ablated |= {f"{reference}-{change}": config for change, config in changed.items()}
        passes = _in_equal_passes(equal_steps, recipe_name(TECOA, rates[TECOA.name]))
        titles = [method.title for method in self.asked]
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
