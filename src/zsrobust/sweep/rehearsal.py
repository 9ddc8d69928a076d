"""Rehearse a plan: all of it in minutes, on the sets in miniature, with few steps and samples."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zsrobust.data.published.miniature import taken_for_published, write_miniature
from zsrobust.data.published.sets import paper_sets
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.models.loading import load
from zsrobust.models.names import architecture_of
from zsrobust.sweep.plan_file import load_study, plan_model
from zsrobust.sweep.run_study import Shown, run_study
from zsrobust.sweep.study import RESULTS, Study
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_folder, remove_unfinished, write_text
from zsrobust.utils.progress import Steps, format_seconds

SETS, STAGES = "miniature", "stages.md"
PER_CLASS = 2


@dataclass(frozen=True)
class Rehearsed:
    """A finished rehearsal.

    Attributes:
        shown: tables and figures, each marked as those of a rehearsal.
        stages: what ran as in the real run, and what only that can show, a line each.
    """

    shown: Shown
    stages: list[str]


def rehearse(
    plan: Path, out: Path, root: Path | None = None, model: str | None = None
) -> Rehearsed:
    """Do all of a plan with what its ``rehearsal`` changes; resumes as the plan itself does.

    The sixteen sets of the paper are written to ``out/miniature``.

    Args:
        plan: its file.
        out: folder of everything.
        root: where the real sets lie; only to say which of them are missing.
        model: in place of the plan's. The plan's own has random weights where its weights are not
            to be had.

    Raises:
        RequestError: if the model is not to be had, or a folder holds another run.
        RunError: if a part fails.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    began = time.monotonic()
    why = ""
    if model is None:
        model, why = _or_random(plan_model(plan))
    sets = out / SETS
    if not sets.is_dir():
        _write_sets(sets)
    with taken_for_published(sets):
        study = load_study(plan, out, sets, rehearsal=True, model=model)
        shown = run_study(study)
    real = load_study(plan, out, root or sets, partial=True)
    seconds = format_seconds(time.monotonic() - began)
    stages = [
        f"Rehearsed in {seconds}. No figure of it is a result. What ran as in the real run:",
        *(f"- {line}" for line in _rehearsed(study, shown)),
        "What only the real run can show:",
        *(f"- {line}" for line in _left(study, real, root, why)),
    ]
    write_text(out / STAGES, "\n".join(stages) + "\n")
    return Rehearsed(shown, stages)


def _or_random(model: str) -> tuple[str, str]:
    """``model``, or its architecture with random weights and why it is that."""
    try:
        load(model)
    except RequestError as reason:
        if not architecture_of(model):
            raise
        random = f"{architecture_of(model)}/random"
        Steps("", 1).say(f"rehearsing with {random}: {reason}")
        return random, str(reason)
    return model, ""


def _write_sets(folder: Path) -> None:
    remove_unfinished(folder.parent)
    known = paper_sets()
    with (
        Steps(f"writing the sets in miniature to {folder}", len(known)) as steps,
        atomic_folder(folder) as temporary,
    ):
        for one in known:
            write_miniature(one.kind, temporary, PER_CLASS)
            steps.advance()


def _rehearsed(study: Study, shown: Shown) -> Iterator[str]:
    yield (
        f"{len(paper_sets())} data sets with all their classes, {PER_CLASS} synthetic images of "
        "each, in their published files and formats"
    )
    systems = list(study.systems.values())
    first = systems[0].config
    yield (
        f"fine-tuning of {first.model} in {len(systems)} ways, {first.steps} steps of "
        f"{first.batch_size} images, with checkpoints and selection on held-out images: "
        f"{', '.join(one.title for one in systems)}"
    )
    for name, stage in study.stages().items():
        run = EvaluatedRun.read(study.out / RESULTS / name)
        asked = stage.sweep.evaluation
        sets = len(dict.fromkeys(row.dataset for row in run.results.rows))
        radii = ", ".join(map(str, asked.eps))
        yield (
            f"{name}: {len(run.models)} models on {sets} sets, {asked.samples or 'all'} images of "
            f"each, under {', '.join(asked.attack)} at {radii}"
        )
        if attacked := attacked_by_part(run):
            parts = ", ".join(f"{part} {count:,}" for part, count in attacked.items())
            yield f"images that each part of an ensemble attacked: {parts}"
    yield (
        f"tables ({shown.tables.name}), {len(shown.figures)} files of figures, the paper's claims, "
        f"and the report{f' ({shown.report.name})' if shown.report else ''}"
    )


def attacked_by_part(run: EvaluatedRun) -> Counter[str]:
    """How many images, over all models, withstood what came before each part of an ensemble."""
    attacked: Counter[str] = Counter()
    columns = run.outcomes.select(["dataset", "attack", "fell_to"]).to_pydict()
    fell = Counter(zip(*columns.values(), strict=True))
    for dataset, about in run.results.protocol["data"].items():
        for attack in about["attacks"]:
            standing = sum(
                count
                for (of, name, to), count in fell.items()
                if (of, name) == (dataset, attack["name"]) and to != "clean"
            )
            for part in attack.get("parts", ()):
                attacked[part["name"]] += standing
                standing -= fell[dataset, attack["name"], part["name"]]
    return attacked


def _left(study: Study, real: Study, root: Path | None, why: str) -> Iterator[str]:
    model = next(iter(real.systems.values())).config
    used = next(iter(study.systems.values())).config.model
    if used != model.model:
        yield f"the weights of {model.model}; {used} stood in{f', for {why}' if why else ''}"
    if root is None:
        yield "the downloads: zsrobust data prepare and zsrobust data verify, set by set"
    else:
        missing = [known.kind for known in paper_sets() if known.below(root) is None]
        here = f"{root} lacks {', '.join(missing)}" if missing else f"all sets are in {root}"
        yield f"whether the sets are whole (zsrobust data verify); {here}"
    yield (
        f"accuracies, and the time and memory of {model.steps:,} steps of {model.batch_size} "
        "images and of the full evaluations, which --dry-run counts"
    )
