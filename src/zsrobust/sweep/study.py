"""A study: systems at their best learning rates, in several comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.evaluation.averages import Averaged
from zsrobust.sweep.jobs import Job, Training
from zsrobust.sweep.plan import Derived, Sweep
from zsrobust.sweep.search import Search, System, with_steps
from zsrobust.training.cost import passes_per_step, steps_for
from zsrobust.utils.errors import RequestError

RESULTS = "results"
"""Folder of the small files that tables and figures are drawn from."""
SCORES = "tuning.json"
"""Among them, what the search for learning rates found."""


@dataclass(frozen=True)
class Comparison:
    """Which systems are compared, and how.

    Attributes:
        reference: the system that the others are compared with.
        systems: by name; None for all.
        best: only so many of them, the best on held-out images, best first; None for all.
        seeds: how many of the study's seeds; None for all.
        evaluate: name of the evaluation; None for the study's first.
        steps: of every system, rather than its own.
        equal_passes: give each as many passes as the reference takes, rather than its own steps;
            not beside ``steps``.
        changes: the reference with other options of finetune instead of other systems, by title.
        interpolate: shares of the fine-tuned weights, in (0, 1), by system: WiSE-FT.
    """

    reference: str
    systems: Sequence[str] | None = None
    best: int | None = None
    seeds: int | None = None
    evaluate: str | None = None
    steps: int | None = None
    equal_passes: bool = False
    changes: Mapping[str, FinetuneConfig] = field(default_factory=dict)
    interpolate: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A comparison whose learning rates are known.

    Attributes:
        sweep: its runs.
        titles: of its recipes.
        reference: title of the one that the others are compared with.
    """

    sweep: Sweep
    titles: Mapping[str, str]
    reference: str


@dataclass(frozen=True)
class Study:
    """A plan, in one folder.

    Attributes:
        systems: by name.
        evaluations: by name; models and folder are the study's to say.
        comparisons: by name.
        seeds: one training run of each system for each.
        out: the folder.
        claims: names of systems that are claimed to be better than the reference.
        search_steps: steps of each run of the search; None for each system's own.
        averages: what accuracies are averaged over; none for unseen sets, or all where none is.
        select: what the search selects by beside held-out images; None for nothing else.
    """

    systems: Mapping[str, System]
    evaluations: Mapping[str, EvaluateConfig]
    comparisons: Mapping[str, Comparison]
    seeds: tuple[int, ...]
    out: Path
    claims: Sequence[str] = ()
    search_steps: int | None = None
    averages: Sequence[Averaged] = ()
    select: EvaluateConfig | None = None

    @cached_property
    def search(self) -> Search:
        """For the learning rates of all systems."""
        saved = self.out / RESULTS / SCORES
        return Search(self.systems, self.seeds[0], self.out, saved, self.search_steps, self.select)

    def jobs(self) -> list[Job]:
        """The runs of the search; once it has ended, those that saved results do not answer.

        A model is evaluated in every way before the next one is trained, so that a study that is
        cut off is complete as far as it went.
        """
        if searching := self.search.jobs():
            return searching
        jobs: list[Job] = []
        for name, stage in self.stages().items():
            saved = evaluated_before(self.out / RESULTS / name, stage.sweep.evaluation)
            jobs += [job for job in stage.sweep.jobs(without=saved) if job not in jobs]
        return sorted(jobs, key=lambda job: isinstance(job, Training))

    def later_jobs(self) -> list[Job]:
        """While learning rates are searched for, what follows at the best ones so far."""
        if not self.search.jobs():
            return []
        rates = self.search.best_so_far()
        stages = [self._stage(one, rates) for one in self.comparisons.values()]
        return [job for stage in stages for job in stage.sweep.jobs()]

    def stages(self) -> dict[str, Stage]:
        """The comparisons by name; none before all learning rates are known."""
        rates = self.search.rates()
        if rates is None:
            return {}
        return {name: self._stage(one, rates) for name, one in self.comparisons.items()}

    def _stage(self, asked: Comparison, rates: Mapping[str, float]) -> Stage:
        reference = self.systems[asked.reference]
        systems = [self.systems[name] for name in asked.systems or self.systems]
        if asked.changes:
            systems = [reference]
        if asked.best is not None:
            best = {
                name: max(found.values(), default=0.0)
                for name, found in self.search.scores().items()
            }
            systems = sorted(systems, key=lambda one: -best[one.name])[: asked.best]
        names = {one.name: one.recipe_at(rates[one.name]) for one in self.systems.values()}
        recipes = {names[one.name]: one.at(rates[one.name]) for one in systems}
        titles = {names[one.name]: one.title for one in systems}
        for title, config in asked.changes.items():
            changed = f"{names[reference.name]}-{title}"
            recipes[changed] = replace(reference, config=config).at(rates[reference.name])
            titles[changed] = title
        if asked.steps or asked.equal_passes:
            passes = _passes(reference.config)
            recipes = dict(
                with_steps(name, one, asked.steps or steps_for(passes, one))
                for name, one in recipes.items()
            )
            titles = dict(zip(recipes, titles.values(), strict=True))
        derived = {
            f"{names[name]}-wise-{share:g}": Derived(names[name], f"wise({{}}, {share:g})")
            for name, shares in asked.interpolate.items()
            for share in shares
        }
        for name, one in derived.items():
            recipes[name] = recipes[one.of]
            titles[name] = f"{titles[one.of]}, WiSE-FT at {name.rpartition('-')[2]}"
        first = next(iter(self.evaluations))
        sweep = Sweep(
            recipes, self.seeds[: asked.seeds], self.evaluations[first], self.out, derived=derived
        )
        if asked.evaluate is not None:
            sweep = sweep.evaluated_by(self.evaluations[asked.evaluate], asked.evaluate)
        return Stage(sweep, titles, reference.title)


def _passes(config: FinetuneConfig) -> int:
    return (config.steps or 0) * passes_per_step(config)


def evaluated_before(folder: Path, asked: EvaluateConfig) -> set[str]:
    """The models whose results ``folder`` holds; none if it is not there.

    Raises:
        RequestError: if they are damaged, or of another evaluation than ``asked``.
    """
    if not folder.is_dir():
        return set()
    from zsrobust.evaluation.results import Results

    results = Results.read(folder / "results.json")
    found = {"samples": results.protocol["samples"], "seed": results.protocol["seed"]}
    found["attacks"] = sorted({row.condition for row in results.rows})
    attacks = [f"{attack} {eps}" for attack in asked.attack for eps in asked.eps]
    expected = {"samples": asked.samples, "seed": asked.seed, "attacks": sorted(attacks)}
    if found != expected:
        raise RequestError(f"{folder} holds results of {found}, not of {expected}: move it away")
    return {row.model for row in results.rows}
