"""The search for every method's learning rate, in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zsrobust.config.schema import EvaluateConfig
from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import KEPT
from zsrobust.reproduce.methods import Method
from zsrobust.reproduce.tables import tuning_table
from zsrobust.reproduce.tuning import DIVERGED, best_rate, next_rates
from zsrobust.reproduce.world import World
from zsrobust.sweep.jobs import Training
from zsrobust.sweep.plan import Sweep
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text

Scores = dict[str, dict[float, float]]
"""By method and rate, the score on held-out images."""


@dataclass(frozen=True)
class Search:
    """Runs of one seed at rates that ``tuning`` chooses, for each method by itself.

    Attributes:
        methods: whose rates are searched for.
        world: every other number.
        out: the folder; scores are kept in its ``KEPT``.
    """

    methods: Sequence[Method]
    world: World
    out: Path

    def jobs(self) -> list[Training]:
        """The runs whose scores are asked for now; none at the end."""
        scores = self.scores()
        return [
            self._training(method, lr)
            for method in self.methods
            for lr in next_rates(scores[method.name], method.start or self.world.start)
        ]

    def scores(self) -> Scores:
        """What every rate tried so far scored."""
        found: Scores = {}
        for method in self.methods:
            scores: dict[float, float] = {}
            while rates := next_rates(scores, method.start or self.world.start):
                found_now = {lr: self._score(method, lr) for lr in rates}
                scores |= {lr: score for lr, score in found_now.items() if score is not None}
                if None in found_now.values():
                    break
            found[method.name] = scores
        return found

    def rates(self) -> dict[str, float]:
        """Every method's best rate; none before all searches have ended."""
        scores = self.scores()
        start = {method.name: method.start or self.world.start for method in self.methods}
        if any(next_rates(found, start[name]) for name, found in scores.items()):
            return {}
        return {name: best_rate(found) for name, found in scores.items()}

    def sweep(
        self, methods: Sequence[Method], evaluation: EvaluateConfig, seeds: tuple[int, ...]
    ) -> Sweep:
        """Methods that were searched for, each at its best rate."""
        rates = self.rates()
        recipes = {
            recipe_name(method, rates[method.name]): method.of(self.world.base, rates[method.name])
            for method in methods
        }
        return Sweep(recipes, seeds, evaluation, self.out)

    def keep(self) -> None:
        """Write the scores."""
        plain = {
            method: {f"{lr:g}": score for lr, score in found.items()}
            for method, found in self.scores().items()
        }
        self._kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._kept, json.dumps(plain, indent=1) + "\n")

    def table(self) -> TextTable:
        """A line a method."""
        titles = {method.name: method.title for method in self.methods}
        return tuning_table(self.scores(), titles)

    def _training(self, method: Method, lr: float) -> Training:
        recipes = {recipe_name(method, lr): method.of(self.world.base, lr)}
        seed = self.world.seeds[0]
        sweep = Sweep(recipes, (seed,), self.world.pgd, self.out)
        return sweep.training(recipe_name(method, lr), seed)

    def _score(self, method: Method, lr: float) -> float | None:
        """What was kept of a score, or that of a finished run; None where there is neither.

        What was kept counts, so that a run made again elsewhere reopens no search by its rounding.
        """
        kept = self._kept_scores.get(method.name, {}).get(f"{lr:g}")
        if kept is not None:
            return kept
        job = self._training(method, lr)
        if not job.is_done():
            return None
        if job.diverged:
            return DIVERGED
        rows = read_metrics(job.folder / "metrics.jsonl")
        last = next(row for row in reversed(rows) if row["kind"] == "held_out")
        return float(last["clean_acc"] + last["robust_acc"]) / 2

    @property
    def _kept(self) -> Path:
        return self.out / KEPT / "tuning.json"

    @cached_property
    def _kept_scores(self) -> Mapping[str, Mapping[str, float]]:
        if not self._kept.is_file():
            return {}
        try:
            return {
                method: {lr: float(score) for lr, score in found.items()}
                for method, found in json.loads(self._kept.read_text(encoding="utf-8")).items()
            }
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise RequestError(f"{self._kept} is damaged: {error}") from None


def recipe_name(method: Method, lr: float) -> str:
    """What a method's runs at a learning rate are called."""
    return f"{method.name}-lr-{lr:g}"
