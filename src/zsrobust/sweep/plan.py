"""Which runs a sweep is made of."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.sweep.jobs import Evaluation, Job, Training
from zsrobust.sweep.on_ray import Cluster

ORIGINAL = "original"


@dataclass(frozen=True)
class Derived:
    """A model that is computed from another recipe's run, without training.

    Attributes:
        of: the recipe.
        name: of the model, with {} for the run, such as ``wise({}, 0.5)``.
    """

    of: str
    name: str


@dataclass(frozen=True)
class Sweep:
    """Recipes and seeds, each fine-tuned once and evaluated in the same way.

    Attributes:
        recipes: a run by its name, its steps given; seed and folder are the sweep's to say.
        seeds: one run of each recipe for each.
        evaluation: how all are evaluated; models and folder are the sweep's to say.
        out: folder of everything.
        evaluations: folder below it of the evaluations; sweeps of the same runs that evaluate them
            in another way have another.
        derived: recipes that are not trained themselves, by name.
        cluster: where the runs are done; None for this process, one after the other.
    """

    recipes: Mapping[str, FinetuneConfig]
    seeds: tuple[int, ...]
    evaluation: EvaluateConfig
    out: Path
    evaluations: str = "evaluations"
    derived: Mapping[str, Derived] = field(default_factory=dict)
    cluster: Cluster | None = None

    def training(self, recipe: str, seed: int) -> Training:
        """The fine-tuning of one recipe and seed."""
        trained = self.derived[recipe].of if recipe in self.derived else recipe
        return run_of(self.out, trained, seed, self.recipes[recipe])

    def evaluation_of(self, recipe: str, seed: int) -> Evaluation:
        """The evaluation of what that run leaves."""
        training = self.training(recipe, seed)
        run = str(training.folder)
        model = self.derived[recipe].name.format(run) if recipe in self.derived else run
        out = self.out / self.evaluations / run_name(recipe, seed)
        config = replace(self.evaluation, model=[model], out=str(out), baseline=False)
        return Evaluation(config, training)

    def originals(self) -> dict[str, Evaluation]:
        """The undefended models, by what to call them: one for each way to see pixels and names."""
        found: dict[str, Evaluation] = {}
        ways: list[tuple[object, ...]] = []
        for recipe in self.recipes.values():
            asked = self.evaluation
            config = replace(
                asked,
                model=[recipe.model],
                preprocessing=asked.preprocessing or recipe.preprocessing,
                loader_resize=asked.loader_resize or recipe.loader_resize,
                templates=asked.templates or recipe.templates,
            )
            way = (recipe.model, config.preprocessing, config.loader_resize, config.templates)
            if way in ways:
                continue
            ways.append(way)
            name = ORIGINAL if len(ways) == 1 else f"{ORIGINAL}-{len(ways)}"
            found[name] = Evaluation(replace(config, out=str(self.out / self.evaluations / name)))
        return found

    def evaluated_by(self, evaluation: EvaluateConfig, name: str) -> Sweep:
        """The same runs under another evaluation, which is called ``name``."""
        return replace(self, evaluation=evaluation, evaluations=f"evaluations-{name}")

    def runs(self) -> list[tuple[str, int]]:
        """Recipe and seed of every run: all recipes of a seed before the next seed."""
        return [(recipe, seed) for seed in self.seeds for recipe in self.recipes]

    def jobs(self, without: Collection[str] = ()) -> list[Job]:
        """All that is to be done: every run, and the evaluation of every model.

        Args:
            without: models whose results are to be had elsewhere. One that is here anyway is
                evaluated too, so that all results are of the same weights.
        """
        jobs: list[Job] = [job for name, job in self.originals().items() if name not in without]
        for run in self.runs():
            training = self.training(*run)
            if run_name(*run) in without and not training.folder.is_dir():
                continue
            jobs.append(training)
            if not training.diverged:
                jobs.append(self.evaluation_of(*run))
        return jobs

    def diverged(self) -> dict[str, str]:
        """The runs that ended without a model, and why."""
        return {run_name(*run): why for run in self.runs() if (why := self.training(*run).diverged)}

    def evaluated(self) -> dict[str, Path]:
        """The evaluations' folders by model, once all jobs are done: originals, then by recipe."""
        models = {name: job.folder for name, job in self.originals().items()}
        for recipe in self.recipes:
            for seed in self.seeds:
                if not self.training(recipe, seed).diverged:
                    folder = self.evaluation_of(recipe, seed).folder
                    models[run_name(recipe, seed)] = folder
        return models


def run_of(out: Path, recipe: str, seed: int, config: FinetuneConfig) -> Training:
    """The fine-tuning of one recipe and seed, in its folder below ``out``."""
    folder = out / "runs" / run_name(recipe, seed)
    return Training(replace(config, seed=seed, out=str(folder)))


def run_name(recipe: str, seed: int) -> str:
    """What a run and its model are called."""
    return f"{recipe}-seed-{seed}"


def seed_of(name: str) -> str:
    """The seed in such a name; empty if it is none."""
    found = re.search(r"-seed-(\d+)$", name)
    return found[1] if found else ""
