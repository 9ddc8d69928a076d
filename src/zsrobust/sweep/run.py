"""Run a sweep to its table and plot; interrupted, it resumes from the finished runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zsrobust.data.published.prompts import prompts_of
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand, single
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.models.loading import load
from zsrobust.reporting.figures.style import save_figure
from zsrobust.reporting.figures.tradeoff import tradeoff_figure
from zsrobust.reporting.tables import TextTable
from zsrobust.sweep.comparison import comparison_points, comparison_table, lines_of
from zsrobust.sweep.gather import gather
from zsrobust.sweep.jobs import Training, work
from zsrobust.sweep.on_ray import work_on_ray
from zsrobust.sweep.plan import Sweep
from zsrobust.training.checkpoint import bytes_to_write
from zsrobust.utils.files import require_room, write_text
from zsrobust.utils.progress import Steps


@dataclass(frozen=True)
class Swept:
    """A finished sweep.

    Attributes:
        run: all models evaluated, as one evaluation.
        table: its summary, and the file of it.
        figures: the files of the trade-off plane under each attack.
        diverged: the runs that left no model, and why.
    """

    run: EvaluatedRun
    table: TextTable
    table_file: Path
    figures: list[Path]
    diverged: dict[str, str]


def check_sweep(sweep: Sweep) -> None:
    """Refuse a sweep that could not be finished.

    Raises:
        RequestError: if a model or data set is not to be had, a model cannot tell the classes of
            one apart, or the disk has no room for the runs.
    """
    models = {name: load(name) for name in {config.model for config in sweep.recipes.values()}}
    needed = sum(
        bytes_to_write(job.config, models[job.config.model].encoder, job.folder)
        for job in sweep.jobs()
        if isinstance(job, Training)
    )
    require_room(sweep.out, needed, "the sweep")
    for train in {config.data for config in sweep.recipes.values()}:
        opening(single(train), "train")()
    for spec in expand(sweep.evaluation.data):
        images = opening(spec, "test")()
        for model in models.values():
            model.check_classes(
                images.class_names, prompts_of(images, sweep.evaluation.templates), images.name
            )


def run_sweep(sweep: Sweep) -> Swept:
    """Do what is left of it.

    Raises:
        RequestError: before any training, if a model or data set is not to be had, a model cannot
            tell the classes of one apart, or a folder holds another run.
        RunError: if a run fails otherwise than by diverging.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    check_sweep(sweep)
    say = Steps("", 1).say
    if sweep.cluster is None:
        work(sweep.jobs, say)
    else:
        work_on_ray(sweep.jobs, say, sweep.cluster)
    run = gather(sweep.evaluated(), sweep.out)
    lines = lines_of(sweep, run.models, {name: name for name in sweep.recipes})
    table = comparison_table(run, lines)
    left = [f"{name} left no model: {why}" for name, why in sweep.diverged().items()]
    table = replace(table, notes=[*table.notes, *left])
    table_file = sweep.out / "table.md"
    write_text(table_file, table.as_markdown())
    figures = []
    for attack in dict.fromkeys(row.condition for row in run.results.rows):
        place, points = comparison_points(run.results, attack, lines)
        figure = tradeoff_figure(points, condition=f"{attack}, {place.name}")
        stem = attack.replace("/", "-").replace(" ", "-")
        figures += save_figure(figure, sweep.out / f"tradeoff-{stem}")
    return Swept(run, table, table_file, figures, sweep.diverged())
