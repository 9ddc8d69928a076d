"""Run a replication, gather its results into small files, and draw all it shows from those."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zsrobust.data.registry import opening
from zsrobust.data.suites import expand, single
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.models.loading import load
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.reporting.figures.distance import distance_figure
from zsrobust.reporting.figures.style import save_figure
from zsrobust.reporting.figures.tradeoff import tradeoff_figure
from zsrobust.reporting.tables import TextTable
from zsrobust.reproduce.experiment import KEPT, Experiment, Stage
from zsrobust.reproduce.kept import evaluated_before
from zsrobust.reproduce.tables import Line, comparison_table
from zsrobust.sweep.cost import passes_per_step
from zsrobust.sweep.gather import gather
from zsrobust.sweep.jobs import Evaluation, Job, Training, work
from zsrobust.sweep.plan import run_name
from zsrobust.sweep.table import sweep_points
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text
from zsrobust.utils.progress import Steps

TABLES = "tables.md"
FIRST = "equal-steps"
"""The comparison whose runs are also shown while training."""
CURVES = "curves"
MOST_IN_A_FIGURE = 8
"""Methods that a figure of every set can tell apart."""
OF_A_RUN = ("config.yaml", "metrics.jsonl", "model/model.json")
"""What is kept of such a run: the request, the curves, the distance."""


@dataclass(frozen=True)
class Reproduced:
    """A replication as far as it went.

    Attributes:
        tables: the file of all tables.
        text: what is in it.
        figures: the files of every figure.
        missing: models of each comparison that are not evaluated yet.
    """

    tables: Path
    text: str
    figures: list[Path]
    missing: dict[str, int]


def reproduce(experiment: Experiment, *, compute: bool = True) -> Reproduced:
    """Do what is left of it, and show what there is.

    Args:
        experiment: what it consists of.
        compute: else nothing is run, and what is there is shown.

    Raises:
        RequestError: before any training, if a model or data set is not to be had, or a folder
            holds another run; without ``compute``, if there is nothing to show.
        RunError: if a run fails otherwise than by diverging.
        KeyboardInterrupt: on Ctrl-C; the same call goes on from there.
    """
    kept = experiment.out / KEPT
    if compute:
        _check(experiment.jobs())
        work(experiment.jobs, Steps("", 1).say)
    missing = {}
    if (experiment.out / "runs").is_dir():
        experiment.keep()
        missing = {name: _gather(stage, kept / name) for name, stage in experiment.stages().items()}
        if FIRST in missing:
            _keep_runs(experiment.stages()[FIRST], kept / CURVES)
    if not kept.is_dir():
        raise RequestError(f"{experiment.out} holds nothing to show yet: leave --show out")
    return _show(experiment, kept, missing)


def _check(jobs: Sequence[Job]) -> None:
    """Refuse a replication whose model or data are not here, before anything is run.

    And one whose model cannot tell the classes of the data apart.
    """
    models = []
    for trained in [job.config for job in jobs if isinstance(job, Training)][:1]:
        models.append(load(trained.model))
        opening(single(trained.data), "train")()
    for evaluated in [job.config for job in jobs if isinstance(job, Evaluation)][:1]:
        for spec in expand(evaluated.data):
            images = opening(spec, "test")()
            for model in models:
                templates = evaluated.templates or images.templates
                model.check_classes(images.class_names, templates, images.name)


def _gather(stage: Stage, out: Path) -> int:
    """Put together what is evaluated; returns how many models are not."""
    wanted = stage.sweep.evaluated()
    before = evaluated_before(out, stage.sweep.evaluation)
    done = {
        model: folder if _is_whole(folder) else out
        for model, folder in wanted.items()
        if _is_whole(folder) or model in before
    }
    if len(done) > len(stage.sweep.originals()):
        gather(done, out)
    return len(wanted) - len(done)


def _is_whole(folder: Path) -> bool:
    return (folder / "results.json").is_file() and not (folder / "parts").exists()


def _keep_runs(stage: Stage, out: Path) -> None:
    for run in (stage.sweep.training(*run).folder for run in stage.sweep.runs()):
        if not (run / "model").is_dir():
            continue
        for file in OF_A_RUN:
            target = out / run.name / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / file, target)


def _show(experiment: Experiment, kept: Path, missing: dict[str, int]) -> Reproduced:
    out = experiment.out
    tables = experiment.tables()
    figures: list[Path] = []
    for name, stage in experiment.stages().items():
        if not (kept / name).is_dir():
            continue
        run = EvaluatedRun.read(kept / name)
        tables[name.replace("-", " ")] = _table(run, stage)
        if len(stage.sweep.recipes) <= MOST_IN_A_FIGURE:
            figures += save_figure(accuracy_figure(run.results), out / f"accuracy-{name}")
        figures += _planes(run, stage, out / f"tradeoff-{name}")
    first = experiment.stages().get(FIRST)
    # In the order of that comparison, so that a method has the same colour here.
    names = [run_name(*run) for run in first.sweep.runs()] if first else []
    runs = [kept / CURVES / name for name in names if (kept / CURVES / name).is_dir()]
    if runs:
        figures += save_figure(distance_figure(runs), out / "distance")
    text = "\n".join(f"## {title}\n\n{table.as_markdown()}" for title, table in tables.items())
    write_text(out / TABLES, text)
    return Reproduced(out / TABLES, text, figures, missing)


def _table(run: EvaluatedRun, stage: Stage) -> TextTable:
    """The comparison; what is not done is left out."""
    sweep = stage.sweep
    lines = [Line("original", [name for name in sweep.originals() if name in run.models])]
    for title, (recipe, config) in zip(stage.titles, sweep.recipes.items(), strict=True):
        models = [name for seed in sweep.seeds if (name := run_name(recipe, seed)) in run.models]
        steps = config.steps or 0
        budget = (f"{config.optimizer.lr:g}", str(steps), str(steps * passes_per_step(config)))
        if models:
            lines.append(Line(title, models, budget))
    named = [line for line in lines if line.title == stage.reference]
    return comparison_table(run, lines, named[0] if named else lines[0])


def _planes(run: EvaluatedRun, stage: Stage, stem: Path) -> list[Path]:
    """Clean against robust accuracy under each attack."""
    titles = dict(zip(stage.sweep.recipes, stage.titles, strict=True))
    figures = []
    attacks = list(dict.fromkeys(row.condition for row in run.results.rows))
    for under in attacks:
        place, points = sweep_points(stage.sweep, run.results, under)
        named = [replace(point, label=titles.get(point.label, point.label)) for point in points]
        figure = tradeoff_figure(named, condition=f"{under}, {place.name}")
        name = stem.name if len(attacks) == 1 else f"{stem.name}-{under.replace('/', '-')}"
        figures += save_figure(figure, stem.with_name(name))
    return figures
