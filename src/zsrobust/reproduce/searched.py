"""A replication with learning rates searched for: two comparisons, ablations, AutoAttack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from zsrobust.config import FinetuneConfig
from zsrobust.errors import RequestError
from zsrobust.files import write_text
from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import KEPT, Stage
from zsrobust.reproduce.kept import evaluated_before
from zsrobust.reproduce.methods import METHODS, PAPER, TECOA, Method, ablations
from zsrobust.reproduce.tables import tuning_table
from zsrobust.reproduce.tuning import DIVERGED, best_rate, next_rates
from zsrobust.reproduce.world import World
from zsrobust.sweep.cost import passes_per_step, steps_for
from zsrobust.sweep.jobs import Job, Training
from zsrobust.sweep.plan import Sweep
from zsrobust.training.metrics import read_metrics

Scores = dict[str, dict[float, float]]
"""By method and rate, the score on held-out images."""


@dataclass(frozen=True)
class Searched:
    """All runs of one world, in one folder.

    Attributes:
        world: every number.
        out: the folder.
    """

    world: World
    out: Path

    def jobs(self) -> list[Job]:
        """The runs of the search, and once it has ended those of every comparison."""
        scores = self.scores()
        jobs: list[Job] = []
        for method in METHODS:
            rates = next_rates(scores[method.name], self.world.start)
            jobs += [self._tuning(method, lr) for lr in rates]
        if jobs:
            return jobs
        for name, stage in self.stages().items():
            before = evaluated_before(self.out / KEPT / name, stage.sweep.evaluation)
            jobs += stage.sweep.jobs(without=before)
        # A model is evaluated in every way before the next is trained, so what is cut off is
        # whole as far as it goes.
        return sorted(jobs, key=lambda job: isinstance(job, Training))

    def scores(self) -> Scores:
        """What every rate tried so far scored."""
        found: Scores = {}
        for method in METHODS:
            scores: dict[float, float] = {}
            while rates := next_rates(scores, self.world.start):
                found_now = {lr: self._score(method, lr) for lr in rates}
                scores |= {lr: score for lr, score in found_now.items() if score is not None}
                if None in found_now.values():
                    break
            found[method.name] = scores
        return found

    def keep(self) -> None:
        """Write the scores."""
        plain = {
            method: {f"{lr:g}": score for lr, score in found.items()}
            for method, found in self.scores().items()
        }
        (self.out / KEPT).mkdir(parents=True, exist_ok=True)
        write_text(self._kept, json.dumps(plain, indent=1) + "\n")

    def tables(self) -> dict[str, TextTable]:
        """The search."""
        titles = {method.name: method.title for method in METHODS}
        return {"learning rates": tuning_table(self.scores(), titles)}

    def stages(self) -> dict[str, Stage]:
        """The comparisons, once every method's search has ended."""
        scores = self.scores()
        if any(next_rates(found, self.world.start) for found in scores.values()):
            return {}
        rates = {name: best_rate(found) for name, found in scores.items()}
        world = self.world
        equal_steps = {
            _recipe(method, rates[method.name]): method.of(world.base, rates[method.name])
            for method in METHODS
        }
        reference = _recipe(PAPER, rates[PAPER.name])
        changed = ablations(world.base, rates[PAPER.name])
        ablated = {reference: equal_steps[reference]}
        ablated |= {f"{reference}-{change}": config for change, config in changed.items()}
        sweep = Sweep(equal_steps, world.seeds, world.pgd, self.out)
        passes = _in_equal_passes(equal_steps, _recipe(TECOA, rates[TECOA.name]))
        autoattack = replace(
            sweep, evaluation=world.autoattack, evaluations="evaluations-autoattack"
        )
        titles = [method.title for method in METHODS]
        return {
            "equal-steps": Stage(sweep, titles, TECOA.title),
            "equal-passes": Stage(replace(sweep, recipes=passes), titles, TECOA.title),
            "autoattack": Stage(autoattack, titles, TECOA.title),
            "ablations": Stage(
                replace(sweep, recipes=ablated, seeds=world.seeds[:1]),
                [PAPER.title, *changed],
                PAPER.title,
            ),
        }

    def _tuning(self, method: Method, lr: float) -> Training:
        recipes = {_recipe(method, lr): method.of(self.world.base, lr)}
        seed = self.world.seeds[0]
        sweep = Sweep(recipes, (seed,), self.world.pgd, self.out)
        return sweep.training(_recipe(method, lr), seed)

    def _score(self, method: Method, lr: float) -> float | None:
        """What was kept of a score, or that of a finished run; None where there is neither.

        What was kept counts, so that a run made again elsewhere reopens no search by its rounding.
        """
        kept = self._kept_scores.get(method.name, {}).get(f"{lr:g}")
        if kept is not None:
            return kept
        job = self._tuning(method, lr)
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


def _recipe(method: Method, lr: float) -> str:
    """What a method's runs at a learning rate are called."""
    return f"{method.name}-lr-{lr:g}"


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
