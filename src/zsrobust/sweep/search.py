"""The search for a system's learning rate: one rule for every system, fixed before any run.

Rates lie on a grid of two a decade (1e-4, 3e-4, 1e-3, ...). The start and its two neighbours are
tried first; as long as the best is at an end of what was tried, the next beyond that end is tried
too. Best is what model selection calls best: the highest mean of clean and PGD-10 accuracy on
images held out of the training set, of the last model of a run of the full number of steps, or of
fewer where the plan says so, first seed; of equals the lower rate. A run that diverges is worse
than any other; where all do, lower ones are tried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import TypeAlias

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.sweep.jobs import Evaluation, Job, Training
from zsrobust.sweep.plan import run_of
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text

DIVERGED = -1.0
SELECTION = "selection"
"""Folder of the evaluations on the sets that the plan selects on."""
FARTHEST = 6

Scores: TypeAlias = dict[float, float]
"""By learning rate, the score on held-out images, in [0, 1]; DIVERGED where the run diverged."""


@dataclass(frozen=True)
class System:
    """A model that is fine-tuned in one way.

    Attributes:
        name: of its runs.
        title: in tables and figures.
        config: its fine-tuning, but for seed and folder.
        search_from: learning rate that its search begins with; None to keep that of ``config``.

    Raises:
        RequestError: if a learning rate is to be searched for without held-out images.
    """

    name: str
    title: str
    config: FinetuneConfig
    search_from: float | None = None

    def __post_init__(self) -> None:
        if self.search_from is not None and self.config.hold_out == 0:
            raise RequestError(
                f"{self.name}: hold_out is 0, but its learning rate is searched for on held-out "
                "images: hold some out, or leave search_from out"
            )

    def at(self, lr: float) -> FinetuneConfig:
        """Its fine-tuning at a learning rate."""
        return replace(self.config, optimizer=replace(self.config.optimizer, lr=lr))

    @property
    def at_start(self) -> float:
        """The rate that its search begins with, or the one that it keeps."""
        return self.config.optimizer.lr if self.search_from is None else self.search_from

    def recipe_at(self, lr: float) -> str:
        """What its runs at a learning rate are called, but for the seed."""
        return self.name if self.search_from is None else f"{self.name}-lr-{lr:g}"


@dataclass(frozen=True)
class Search:
    """Runs of one seed, at the learning rates that the rule asks for.

    Attributes:
        systems: by name; those without a ``search_from`` keep the learning rate that they have.
        seed: of every run.
        out: folder of the runs.
        saved: file of the scores. A saved score counts before that of a run, so that a run that
            is repeated elsewhere reopens no search by its rounding.
        steps: of every run, its warm-up in proportion; None for each system's own.
        select: further sets to select on and how they are attacked, once; model and folder are the
            search's to say. None for held-out images alone.
    """

    systems: Mapping[str, System]
    seed: int
    out: Path
    saved: Path
    steps: int | None = None
    select: EvaluateConfig | None = None

    def jobs(self) -> list[Job]:
        """The runs whose scores are needed next, each before its evaluation; none at the end."""
        jobs: list[Job] = []
        for name, found in self.scores().items():
            for lr in self._next(name, found):
                training = self._training(self.systems[name], lr)
                jobs += [training, *self._evaluations(training)]
        return jobs

    def scores(self) -> dict[str, Scores]:
        """By name of the system, what every rate tried so far scored."""
        return {name: self._scores(name) for name in self._searched}

    def rates(self) -> dict[str, float] | None:
        """Every system's learning rate; None before all searches have ended."""
        scores = self.scores()
        if any(self._next(name, found) for name, found in scores.items()):
            return None
        return {
            name: best_rate(scores[name]) if name in scores else system.config.optimizer.lr
            for name, system in self.systems.items()
        }

    def best_so_far(self) -> dict[str, float]:
        """Every system's best rate of those tried, or else the one that its search begins with."""
        scores = self.scores()
        return {
            name: best_rate(scores[name]) if scores.get(name) else system.at_start
            for name, system in self.systems.items()
        }

    def save(self) -> None:
        """Write titles and scores, if anything is searched for.

        ``{NAME: {"title": ..., "scores": {LEARNING_RATE: ...}}}``.
        """
        if not self._searched:
            return
        plain = {
            name: {
                "title": self.systems[name].title,
                "scores": {f"{lr:g}": score for lr, score in found.items()},
            }
            for name, found in self.scores().items()
        }
        self.saved.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.saved, json.dumps(plain, indent=1) + "\n")

    @property
    def _searched(self) -> list[str]:
        return [name for name, one in self.systems.items() if one.search_from is not None]

    def _next(self, name: str, scores: Scores) -> list[float]:
        start = self.systems[name].search_from
        assert start is not None
        return next_rates(scores, start)

    def _scores(self, name: str) -> Scores:
        scores: Scores = {}
        while rates := self._next(name, scores):
            now = {lr: self._score(self.systems[name], lr) for lr in rates}
            scores |= {lr: score for lr, score in now.items() if score is not None}
            if None in now.values():
                break
        return scores

    def _score(self, system: System, lr: float) -> float | None:
        """Saved, or of a finished run; None where there is neither."""
        saved = self._saved_scores.get(system.name, {}).get(lr)
        if saved is not None:
            return saved
        job = self._training(system, lr)
        if not job.is_done():
            return None
        if job.diverged:
            return DIVERGED
        evaluations = self._evaluations(job)
        if not all(one.is_done() for one in evaluations):
            return None
        from zsrobust.evaluation.results import Results
        from zsrobust.training.metrics import read_metrics

        rows = read_metrics(job.folder / "metrics.jsonl")
        last = next(row for row in reversed(rows) if row["kind"] == "held_out")
        found = [(last["clean_acc"], last["robust_acc"])]
        for one in evaluations:
            selected = Results.read(one.folder / "results.json").rows
            found += [(row.clean_acc, row.robust_acc) for row in selected]
        return float(mean((clean + robust) / 2 for clean, robust in found))

    def _evaluations(self, training: Training) -> list[Evaluation]:
        """On the sets to select on, if there are any."""
        if self.select is None or training.diverged:
            return []
        run = training.folder
        out = self.out / SELECTION / run.name
        config = replace(self.select, model=[str(run)], out=str(out), baseline=False)
        return [Evaluation(config, training)]

    def _training(self, system: System, lr: float) -> Training:
        name, config = system.recipe_at(lr), system.at(lr)
        if self.steps is not None:
            name, config = with_steps(name, config, self.steps)
        return run_of(self.out, name, self.seed, config)

    @cached_property
    def _saved_scores(self) -> dict[str, Scores]:
        return {name: scores for name, (_, scores) in read_scores(self.saved).items()}


def with_steps(name: str, config: FinetuneConfig, steps: int) -> tuple[str, FinetuneConfig]:
    """A recipe of so many steps, its warm-up in proportion, and what it is called."""
    if steps == config.steps:  # the run that is there already
        return name, config
    own = config.steps or steps
    warmup = replace(config.optimizer, warmup_steps=config.optimizer.warmup_steps * steps // own)
    changed = replace(config, steps=steps, evaluate_every=steps, optimizer=warmup)
    return f"{name}-steps-{steps}", changed


def read_scores(path: Path) -> dict[str, tuple[str, Scores]]:
    """Titles and scores that :meth:`Search.save` wrote, by name; none if there is no file.

    Raises:
        RequestError: if it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return {
            name: (
                str(about["title"]),
                {float(lr): float(score) for lr, score in about["scores"].items()},
            )
            for name, about in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is damaged: {error}") from None


def rate(index: int) -> float:
    """The learning rate at a place of the grid: 0 is 1, -1 is 0.3, -2 is 0.1."""
    decade, odd = divmod(index, 2)
    return float(f"{3 if odd else 1}e{decade}")


def index_of(lr: float) -> int:
    """The place of a rate of the grid.

    Raises:
        ValueError: if it is not on the grid.
    """
    for index in range(-20, 20):
        if rate(index) == lr:
            return index
    raise ValueError(f"{lr} is not on the grid of learning rates")


def next_rates(scores: Mapping[float, float], start: float) -> list[float]:
    """The rates to try now, given the scores of those that are known; none at the end.

    FARTHEST half-decades from the start it ends, whatever it found.
    """
    first = index_of(start)
    tried = {index_of(lr): score for lr, score in scores.items()}
    begin = [index for index in (first, first - 1, first + 1) if index not in tried]
    if begin:
        return [rate(index) for index in begin]
    at = index_of(best_rate(scores))
    beyond = {min(tried): min(tried) - 1, max(tried): max(tried) + 1}.get(at)
    if beyond is None or abs(beyond - first) > FARTHEST:
        return []
    return [rate(beyond)]


def best_rate(scores: Mapping[float, float]) -> float:
    """The rate with the highest score, the lowest of equals."""
    return max(sorted(scores), key=lambda lr: scores[lr])
