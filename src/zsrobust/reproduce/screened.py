"""The search for a loss that does better than PMG-AFT, on sets named here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from zsrobust.reproduce.candidates import CANDIDATES
from zsrobust.reproduce.experiment import Stage
from zsrobust.reproduce.methods import PAPER, PRESETS, TECOA, Method
from zsrobust.reproduce.tuned import Tuned

CHOSEN_ON = ("glyph:small-letters", "glyph:zodiac", "glyph:shapes")
"""Named before any candidate was run. No other set of the suite has a say in what is chosen, and
none of these in what is reported of it."""
SHARE = 0.8
"""Of the fine-tuned weights, in the interpolation with the original that is looked at besides."""


@dataclass(frozen=True)
class Screened(Tuned):
    """Candidates beside what there is.

    Attributes:
        chosen_on: the sets that models are compared on.
    """

    chosen_on: Sequence[str] = CHOSEN_ON

    def methods(self) -> Sequence[Method]:
        """TeCoA, PMG-AFT, and the candidates."""
        return (TECOA, *PRESETS, *CANDIDATES)

    def compared(self) -> dict[str, Stage]:
        """Each model, and partway to the original."""
        evaluation = replace(self.world.pgd, data=list(self.chosen_on))
        sweep = self.search.sweep(self.search.methods, evaluation, self.world.seeds[:1])
        sweep = replace(sweep, evaluations="evaluations-screen")
        titles = [method.title for method in self.search.methods]
        stage = Stage(sweep, titles, PAPER.title)
        return {"screen": stage.interpolated(list(sweep.recipes), [SHARE])}
