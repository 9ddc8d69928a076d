"""Every method of the field beside the others, and PMG-AFT with every adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zsrobust.reproduce.experiment import Stage
from zsrobust.reproduce.methods import ADAPTED, FIELD, PAPER, TECOA, Method
from zsrobust.reproduce.tuned import Tuned

SHARES = (0.5, 0.8)
"""Of the fine-tuned weights, where they are interpolated with the original's (WiSE-FT)."""
HEADLINE = 5
"""Methods that are run with every seed and attacked with AutoAttack: the best on held-out images,
so that no set of the suite has a say in which they are."""


class Field(Tuned):
    """Methods, adapters, and the best methods with every seed."""

    def methods(self) -> Sequence[Method]:
        """All of both kinds."""
        return (*FIELD, *ADAPTED)

    def compared(self) -> dict[str, Stage]:
        """One seed of each, and the headline."""
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
