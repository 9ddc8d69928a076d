"""The plan of a study: its YAML file.

Keys of a plan::

    finetune: {...}       options of every fine-tuning, as in a recipe
    evaluate: {NAME: {...}}  evaluations by name; the first is that of comparisons that name none
    seeds: [0, 1, 2]
    search_from: 0.001    where each search for a learning rate begins; left out, none is searched
    search_steps: 100     of each run of the search; left out, each system's own
    select: {...}         evaluation that a search selects by, beside held-out images; one attack
    systems: {NAME: {title: ..., search_from: ..., recipe: ..., ...}}  and options of finetune
    comparisons: {NAME: {...}}  each as :class:`Comparison`
    claims: [NAME, ...]   systems that are claimed to beat each comparison's reference
    averages: {NAME: [SET, [SET, SET], ...]}  sets, and groups of sets that count once; the first is
                          shown in place of that of unseen sets, and a further table shows all
                          whose sets a comparison has; of a further one also
                          {sets: [...], without_classes_of: SET}
    rehearsal: {...}      what of all this a rehearsal changes

``{root}`` in data is the folder of the data sets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from zsrobust.config.parsing import recipe
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.data.published.sets import published_sets
from zsrobust.data.specification import parse_specification, split_options
from zsrobust.data.suites import expand
from zsrobust.evaluation.averages import WITHOUT, Averaged
from zsrobust.models.adapters.options import Adapter
from zsrobust.objectives import Term, objective_class
from zsrobust.sweep.search import System
from zsrobust.sweep.study import Comparison, Study
from zsrobust.utils.errors import RequestError


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
        evaluation(plan["select"]) if "select" in plan else None,
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
    found = [_located(spec, root, partial) for spec in specs]
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


def read_averages(
    plan: Mapping[str, Any], evaluations: Mapping[str, EvaluateConfig]
) -> list[Averaged]:
    """The averages of a plan, each as in :meth:`Averaged.of_plain`.

    Args:
        plan: by name.
        evaluations: by name; every one must have all sets of the first average, and one of them
            all sets of each further average. None of them to check nothing.

    Raises:
        RequestError: if an average is no list of sets, or lacks sets.
    """
    averages = [Averaged.of_plain(*one) for one in plan.items()]
    if averages and averages[0].without:
        raise RequestError(
            f"the average {averages[0].name!r} is the first, which figures show: it is over whole "
            f"sets, so leave {WITHOUT} out"
        )
    found = evaluations.items() if averages else ()
    there = {name: [_name_of(spec) for spec in expand(one.data)] for name, one in found}
    for index, average in enumerate(averages if there else ()):
        lacking = {
            name: [one for one in average.asked if one not in sets] for name, sets in there.items()
        }
        # Of the first average the evaluation that lacks most, of others the one that lacks least.
        name = (min if index else max)(lacking, key=lambda name: len(lacking[name]))
        if lacking[name]:
            raise RequestError(
                f"the average {average.name!r} is over {', '.join(lacking[name])}, which the plan "
                f"does not evaluate by {name}: it evaluates {', '.join(there[name])}"
            )
    return averages


def _name_of(spec: str) -> str:
    """The name of a set in results."""
    asked = parse_specification(spec)
    if asked.name or asked.kind in published_sets():
        return asked.name or asked.kind
    from zsrobust.data.registry import opening

    return opening(spec, "test")().name
