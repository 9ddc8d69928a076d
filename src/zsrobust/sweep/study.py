"""A study: systems at their best learning rates, in several comparisons. Its plan is a YAML file.

Keys of a plan::

    finetune: {...}       options of every fine-tuning, as in a recipe
    evaluate: {NAME: {...}}  evaluations by name; the first is that of comparisons that name none
    seeds: [0, 1, 2]
    search_from: 0.001    where each search for a learning rate begins; left out, none is searched
    search_steps: 100     of each run of the search; left out, each system's own
    confirm: true         run the best rate of a shorter search and its neighbours at full length
    select: {...}         evaluation that a search selects by, beside held-out images; one attack
    systems: {NAME: {title: ..., search_from: ..., recipe: ..., ...}}  and options of finetune
    comparisons: {NAME: {...}}  each as :class:`Comparison`
    claims: [NAME, ...]   systems that are claimed to beat each comparison's reference
    averages: {NAME: [SET, [SET, SET], ...]}  sets, and groups of sets that count once; the first is
                          shown in place of that of unseen sets, and a further table shows all
                          whose sets a comparison has
    rehearsal: {...}      what of all this a rehearsal changes

``{root}`` in data is the folder of the data sets, ``further:{root}`` for every set of the
paper there but those that are named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from zsrobust.config.parsing import recipe
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.data.published.sets import paper_sets, published_sets
from zsrobust.data.specification import split_options
from zsrobust.evaluation.averages import Averaged
from zsrobust.models.adapters.options import Adapter
from zsrobust.objectives import Term, objective_class
from zsrobust.sweep.averages import read_averages
from zsrobust.sweep.jobs import Job, Training
from zsrobust.sweep.plan import Derived, Sweep
from zsrobust.sweep.search import Search, System, with_steps
from zsrobust.training.cost import passes_per_step, steps_for
from zsrobust.utils.errors import RequestError

RESULTS = "results"
"""Folder of the small files that tables and figures are drawn from."""
FURTHER = "further:{root}"


@dataclass(frozen=True)
class Comparison:
    """Which systems are compared, and how.

    Attributes:
        reference: the system that the others are compared with.
        systems: by name; None for all.
        best: only so many of them, the best on held-out images, best first; None for all.
        seeds: how many of the study's seeds; None for all.
        evaluate: name of the evaluation; None for the study's first.
        equal_passes: give each as many passes as the reference takes, rather than its own steps.
        changes: the reference with other options of finetune instead of other systems, by title.
        interpolate: shares of the fine-tuned weights, in (0, 1), by system: WiSE-FT.
    """

    reference: str
    systems: Sequence[str] | None = None
    best: int | None = None
    seeds: int | None = None
    evaluate: str | None = None
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
        confirm: whether the best rate of the search and its neighbours are run at full length,
            and the best of those three counts.
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
    confirm: bool = False

    @cached_property
    def search(self) -> Search:
        """For the learning rates of all systems."""
        saved = self.out / RESULTS / "tuning.json"
        return Search(self.systems, self.seeds[0], self.out, saved, self.search_steps, self.select)

    @property
    def confirmation(self) -> Search | None:
        """Of the rates that the search found; None before that, or where none is asked for."""
        rates = self.search.rates() if self.confirm else None
        if rates is None:
            return None
        return self.search.around(rates, self.search.saved.with_name("confirmed.json"))

    @property
    def last_search(self) -> Search:
        """The one that decides on learning rates, as far as is known."""
        return self.confirmation or self.search

    def jobs(self) -> list[Job]:
        """The runs of the search; once it has ended, those that saved results do not answer.

        A model is evaluated in every way before the next one is trained, so that a study that is
        cut off is complete as far as it went.
        """
        if searching := self.last_search.jobs():
            return searching
        jobs: list[Job] = []
        for name, stage in self.stages().items():
            saved = evaluated_before(self.out / RESULTS / name, stage.sweep.evaluation)
            jobs += [job for job in stage.sweep.jobs(without=saved) if job not in jobs]
        return sorted(jobs, key=lambda job: isinstance(job, Training))

    def later_jobs(self) -> list[Job]:
        """While learning rates are searched for, what follows at the best ones so far."""
        search = self.last_search
        if not search.jobs():
            return []
        rates = search.best_so_far()
        jobs: list[Job] = []
        if self.confirm and self.confirmation is None:
            jobs += search.around(rates, search.saved).jobs()
        stages = [self._stage(one, rates) for one in self.comparisons.values()]
        return jobs + [job for stage in stages for job in stage.sweep.jobs()]

    def stages(self) -> dict[str, Stage]:
        """The comparisons by name; none before all learning rates are known."""
        rates = self.last_search.rates()
        if rates is None or (self.confirm and self.confirmation is None):
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
                for name, found in self.last_search.scores().items()
            }
            systems = sorted(systems, key=lambda one: -best[one.name])[: asked.best]
        names = {one.name: one.recipe_at(rates[one.name]) for one in self.systems.values()}
        recipes = {names[one.name]: one.at(rates[one.name]) for one in systems}
        titles = {names[one.name]: one.title for one in systems}
        for title, config in asked.changes.items():
            changed = f"{names[reference.name]}-{title}"
            recipes[changed] = replace(reference, config=config).at(rates[reference.name])
            titles[changed] = title
        if asked.equal_passes:
            passes = _passes(reference.config)
            recipes = dict(
                with_steps(name, one, steps_for(passes, one)) for name, one in recipes.items()
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


def plan_names() -> list[str]:
    """The packaged plans."""
    return sorted(path.stem for path in _plans().glob("*.yaml"))


def plan_path(name: str) -> Path:
    """The file of a packaged plan."""
    return _plans() / f"{name}.yaml"


def _plans() -> Path:
    return Path(str(resources.files("zsrobust") / "sweep" / "plans"))


def needs_root(path: Path) -> bool:
    """Whether the plan is for data sets in a folder."""
    return "{root}" in path.read_text(encoding="utf-8")


def can_rehearse(path: Path) -> bool:
    """Whether the plan says what a rehearsal changes."""
    return "rehearsal" in _read_plan(path)


def plan_model(path: Path) -> str:
    """The model that the plan fine-tunes."""
    return str(_read_plan(path)["finetune"]["model"])


def _read_plan(path: Path) -> dict[str, Any]:
    plan: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return plan


def load_study(
    path: Path,
    out: Path,
    root: Path | None = None,
    *,
    partial: bool = False,
    rehearsal: bool = False,
    model: str | None = None,
) -> Study:
    """The study of a plan.

    Args:
        path: the plan.
        out: the study's folder.
        root: folder of the data sets, for a plan that :func:`needs_root`.
        partial: whether data sets may be missing, to say what would be run.
        rehearsal: whether to change what the plan's ``rehearsal`` says.
        model: in place of the plan's; None for that.

    Raises:
        RequestError: if an option is wrong, or data sets are missing.
    """
    plan = _read_plan(path)
    changes = plan.pop("rehearsal", {})
    if rehearsal:
        plan = _merged(plan, changes)
    base = plan["finetune"]
    base["model"] = model or base["model"]
    base["data"] = _located(base["data"], root, partial)
    systems, options = {}, {}
    for name, about in plan["systems"].items():
        start = about.pop("search_from", plan.get("search_from"))
        title = about.pop("title")
        options[name] = _merged(base, about)
        systems[name] = System(name, title, _config(options[name]), start)

    def evaluation(about: Mapping[str, Any]) -> EvaluateConfig:
        one = EvaluateConfig(**about, model=[base["model"]])
        return replace(one, data=_all_located(one.data, root, partial))

    evaluations = {name: evaluation(about) for name, about in plan["evaluate"].items()}
    comparisons = {}
    for name, about in plan["comparisons"].items():
        changed = {
            title: _config(_merged(options[about["reference"]], change))
            for title, change in about.pop("changes", {}).items()
        }
        comparisons[name] = Comparison(**about, changes=changed)
    return Study(
        systems,
        evaluations,
        comparisons,
        tuple(plan["seeds"]),
        out,
        plan.get("claims", ()),
        plan.get("search_steps"),
        read_averages(plan.get("averages") or {}, {} if partial else evaluations),
        read_averages(plan.get("averages") or {}, [] if partial else evaluations.values()),
        evaluation(plan["select"]) if "select" in plan else None,
        plan.get("confirm", False),
    )


def _config(options: Mapping[str, Any]) -> FinetuneConfig:
    given = dict(options)
    if "recipe" in given:
        return recipe(given.pop("recipe"), **given)
    # Not by the command's parser, which takes a tenth of a second for each.
    for key, kind in (("attack", TrainingAttack), ("optimizer", Optimizer), ("adapter", Adapter)):
        if key in given:
            given[key] = kind(**given[key])
    objective = given.get("objective", {})
    if "terms" in objective:
        objective = {**objective, "terms": [Term(**term) for term in objective["terms"]]}
    given["objective"] = objective_class(given["method"])(**objective)
    return FinetuneConfig(**given)


def _merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(base[key], value) if isinstance(value, dict) and key in base else value
        for key, value in change.items()
    }
    return {**base, **both}


def _all_located(specs: Sequence[str], root: Path | None, partial: bool) -> list[str]:
    found: list[str] = []
    for spec in specs:
        if spec != FURTHER:
            found.append(_located(spec, root, partial))
            continue
        assert root is not None
        further = [*_further(root, named={one.partition(":")[0] for one in specs})]
        if not further and not partial:
            raise RequestError(
                f"{root} holds no set but the training set: put there a set that the model is not "
                f"fine-tuned on, such as {', '.join(known.kind for known in paper_sets()[1:4])}"
            )
        found += further
    folders = [split_options(spec)[0].partition(":")[2] for spec in found if root is not None]
    absent = [folder for folder in folders if not Path(folder).is_dir()]
    if absent and not partial:
        raise RequestError(
            f"{root} lacks {len(absent)} of the {len(found)} sets of the plan, which must lie in "
            f"{', '.join(absent)}"
        )
    return found


def _located(spec: str, root: Path | None, partial: bool) -> str:
    head, options = split_options(spec)
    kind, _, place = head.partition(":")
    if place != "{root}" or kind not in published_sets():
        return spec.format(root=root)
    assert root is not None
    known = published_sets()[kind]
    found = known.below(root)
    if found is None and not partial:
        raise RequestError(
            f"{root} holds no {known.title}, which the plan uses: it must lie in "
            f"{root / known.places[0]}"
        )
    return f"{kind}:{found or root / kind}{options}"


def _further(root: Path, named: set[str]) -> Iterator[str]:
    """Every set of the paper in ``root`` but those that are named, as papers evaluate it."""
    found = {known.kind: known.below(root) for known in paper_sets() if known.kind not in named}
    if found.get("cifar10") is None and (root / "cifar10" / "test").is_dir():
        yield f"imagefolder:{root / 'cifar10' / 'test'},name=cifar10,resolution=32"
    for kind, place in found.items():
        if place is not None:
            # Sets without a test split of their own are evaluated whole.
            yield f"{kind}:{place}" + (",split=all" if published_sets()[kind].own_split else "")
