"""Fine-tuning: how far, how it went, and what was asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import yaml

from zsrobust.reporting.commands import repeating_command
from zsrobust.reporting.figures.curves import curves_figure
from zsrobust.reporting.figures.distance import distance_figure
from zsrobust.reporting.html.blocks import Block, Chart, Code, Grid, Paragraph, Section
from zsrobust.reporting.inputs import TrainingRun
from zsrobust.reporting.names import method_from
from zsrobust.reporting.tables import TextTable


def training_section(runs: Sequence[TrainingRun]) -> Section:
    """Distance and curves.

    Args:
        runs: one or more.
    """
    distances = "; ".join(
        f"{_title(run)} {run.moved.distance:.2%} at step {run.moved.step}" for run in runs
    )
    folders = [run.folder for run in runs]
    curves = [
        (label, run.moved.method, run.metrics)
        for label, run in zip(_labels(runs), runs, strict=True)
    ]
    charts = [
        Chart(
            "distance",
            "Relative L2 distance in parameter space from the starting model: of the evaluated "
            "model, and its growth over training",
            f"Bars and curves a method: {distances}.",
            distance_figure(folders),
            distance_figure(folders, narrow=True),
        ),
        Chart(
            "curves",
            "Fine-tuning: thin lines are batches of training, markers held-out images",
            "Loss, clean accuracy and accuracy on attacked images over the steps; on held-out "
            f"images at the end: {'; '.join(map(_held_out, runs))}.",
            curves_figure(curves),
            curves_figure(curves, narrow=True),
        ),
    ]
    return Section(
        "Fine-tuning",
        "fine-tuning",
        [
            Paragraph(f"warning: {run.folder}: {line}", warning=True)
            for run in runs
            if (line := run.card.get("held_out", {}).get("warning"))
        ],
        [
            Section("Distance in parameter space", "parameter-space", charts[:1]),
            Section("Training curves", "training-curves", charts[1:]),
        ],
    )


def runs_section(runs: Sequence[TrainingRun]) -> Section:
    """A table of the runs, and how each is made again."""
    blocks: list[Block] = [Grid("runs", "The fine-tuning runs", _table(runs), condensed=True)]
    for run in runs:
        if run.request:
            text = yaml.safe_dump(run.request, sort_keys=False, allow_unicode=True)
            command = repeating_command(run.folder)
            label = f"How {run.folder} is made again: the command, and the config.yaml it names"
            blocks.append(Code(f"{command}\n\n{text}", label, folded=True))
        else:
            blocks.append(Paragraph(f"{run.folder} holds no config.yaml: its request is unknown."))
    return Section("Fine-tuning runs", "fine-tuning-runs", blocks)


def _start(run: TrainingRun) -> dict[str, str]:
    """The fine-tuned model that the run began from, if it did."""
    return dict(run.card.get("start", {}))


def _title(run: TrainingRun) -> str:
    return method_from(run.moved.method, _start(run))


def _labels(runs: Sequence[TrainingRun]) -> list[str]:
    """The method, with the folder where several recipes of it would be called the same."""
    recipes = {(run.moved.method, run.card["source"], run.card["recipe"]) for run in runs}
    many = Counter(method for method, _, _ in recipes)
    seeds = Counter((run.moved.method, run.card["source"], run.card["recipe"]) for run in runs)
    labels = []
    for run in runs:
        key = (run.moved.method, run.card["source"], run.card["recipe"])
        title = _title(run)
        if many[run.moved.method] > 1:
            labels.append(f"{title} ({run.folder.name})")
        else:
            labels.append(f"{title}, {seeds[key]} seeds" if seeds[key] > 1 else title)
    return labels


def _held_out(run: TrainingRun) -> str:
    held_out = run.card.get("held_out", {})
    found = [held_out[key] for key in ("clean_acc", "robust_acc") if key in held_out]
    figures = " and ".join(f"{float(value):.1%}" for value in found)
    return f"{_title(run)} {figures or 'not recorded'}"


def _table(runs: Sequence[TrainingRun]) -> TextTable:
    columns = ["method", "model", "from", "step", "distance, %", "held-out clean, %"]
    columns += ["held-out attacked, %", "seed", "attack", "seen", "recipe", "SHA-256 of the file"]
    rows = []
    for run in runs:
        held_out = run.card.get("held_out", {})
        attack = run.request.get("attack") or {}
        rows.append(
            [
                *(
                    _title(run),
                    str(run.folder),
                    _start(run).get("name", run.card["source"]),
                    _step(run),
                ),
                f"{100 * run.moved.distance:.3g}",
                *(_percent(held_out.get(key)) for key in ("clean_acc", "robust_acc")),
                str(run.request.get("seed", "-")),
                ", ".join(f"{key} {value}" for key, value in attack.items()).replace("_", " "),
                ", ".join(map(str, run.card["seen"])),
                run.card["recipe"] or "-",
                run.card["sha256"][:16],
            ]
        )
    return TextTable(columns, [rows])


def _step(run: TrainingRun) -> str:
    """That of the selected model, and of how many where that is recorded."""
    if "total_steps" not in run.card:
        return str(run.moved.step)
    end = "" if run.card.get("finished", True) else ", not finished"
    return f"{run.moved.step} of {run.card['total_steps']}{end}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
