"""The section on the protocol: everything that decides a number, and how to get it again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from zsrobust.evaluation.comparison.protocol import attack_of
from zsrobust.evaluation.results import Results
from zsrobust.reporting.commands import evaluate_command
from zsrobust.reporting.html.blocks import FOLDED, Block, Code, Grid, Paragraph, Section
from zsrobust.reporting.inputs import EvaluationRun, Group
from zsrobust.reporting.names import display_names, templates_title
from zsrobust.reporting.tables import TextTable
from zsrobust.utils.units import Eps, format_radius

USUAL = (
    *("source", "method", "weights", "logit_scale", "preprocessing", "seen", "recipe"),
    "unfinished",
)
"""What the protocol holds of a model besides a defence."""


def protocol_section(group: Group) -> Section:
    """Threat models, attacks, models, sets, seeds, versions and commands."""
    protocol = group.results.protocol
    samples = protocol.get("samples")
    some = "all samples" if samples is None else f"{samples} class-balanced samples per data set"
    blocks: list[Block] = [
        Paragraph(
            f"A sample counts as robust if it is {protocol['robust']}. Intervals are "
            f"{protocol['interval']}. Precision is {protocol['precision']}; evaluated are {some}."
        ),
        _grid(group, "protocol-attacks", "Attacks with all their parameters", _attacks(group)),
        _grid(group, "protocol-models", "Models", _models(group.results)),
        _grid(group, "protocol-sets", "Data sets", _sets(group.results)),
        _grid(group, "protocol-runs", "Seeds and versions", _runs(group)),
        Paragraph("Every row with its key and its command:", files=(f"{group.prefix}rows.csv",)),
    ]
    for run in group.runs:
        blocks += _again(run)
    return Section("Protocol", f"{group.prefix}protocol", blocks)


def rows_table(group: Group) -> TextTable:
    """Every field of :class:`Row`, accuracies in [0, 1], with the command that repeats the row."""
    lines = []
    for run in group.runs:
        for row in run.results.rows:
            cells: dict[str, Any] = {}
            for name, value in asdict(row).items():
                if name.startswith("ci95_"):
                    cells[f"{name}_low"], cells[f"{name}_high"] = value
                elif isinstance(value, dict):
                    cells[name] = "; ".join(f"{key} {part}" for key, part in value.items())
                else:
                    cells[name] = value
            cells["run"] = run.folder
            cells["command"] = evaluate_command(run.request, [row]) if run.request else ""
            lines.append(cells)
    return TextTable(list(lines[0]), [[[str(cell) for cell in line.values()] for line in lines]])


def describe_attack(attack: dict[str, Any]) -> str:
    """All parameters of an attack, such as ``steps 10, step size 2/255``."""
    plain = {key: value for key, value in attack.items() if key not in ("name", "threat")}
    return ", ".join(_flat(plain))


def describe_preprocessing(about: Any) -> str:
    """How a model is given its pixels."""
    return ", ".join(_flat(about)) if isinstance(about, dict) else str(about)


def describe_defence(about: dict[str, Any]) -> str:
    """What a model's protocol holds beyond what every model's does: a defence at test time."""
    return ", ".join(_flat({key: value for key, value in about.items() if key not in USUAL}))


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            yield from _flat(value, f"{name} ")
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for one in value:
                part = str(one.get("name", key))
                own = {k: v for k, v in one.items() if k not in ("name", "threat")}
                yield from _flat(own, f"{part}: ")
        elif key in ("step_size", "eps") and isinstance(value, float):
            yield f"{name} {Eps(value)}"
        elif isinstance(value, list):
            yield f"{name} ({', '.join(_number(one) for one in value)})"
        else:
            yield f"{name} {'none' if value is None else _number(value)}"


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _grid(group: Group, name: str, caption: str, table: TextTable) -> Grid:
    folded, condensed = len(table.rows) > FOLDED, len(table.columns) > 2
    return Grid(f"{group.prefix}{name}", caption, table, folded, condensed=condensed)


def _attacks(group: Group) -> TextTable:
    """One line an attack as run; a set of few classes may have lines of its own."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for run in group.runs:
        for row in run.results.rows:
            attack = attack_of(run.results, row)
            parameters = describe_attack(attack)
            threat = attack["threat"]
            low, high = threat.get("bounds", (0, 1))
            model = f"{row.norm} {format_radius(row.norm, row.eps)}, pixels in [{low:g}, {high:g}]"
            sets = found.setdefault((row.attack, model, parameters), [])
            if row.dataset not in sets:
                sets.append(row.dataset)
    every = len({row.dataset for row in group.results.rows})
    rows = [
        [*key, f"all {every}" if len(sets) == every else ", ".join(sets)]
        for key, sets in found.items()
    ]
    return TextTable(["attack", "threat model", "parameters", "data sets"], [rows])


def _models(results: Results) -> TextTable:
    columns = ["shown as", "model", "method", "from", "weights", "logit scale", "preprocessing"]
    columns += ["seen in training", "recipe", "defence at test time"]
    shown = display_names(results, list(dict.fromkeys(row.model for row in results.rows)))
    rows = [
        [
            *(shown[name], name, about["method"]),
            *(about.get("start", {}).get("name", about["source"]), about["weights"]),
            _number(about["logit_scale"]),
            describe_preprocessing(about["preprocessing"]),
            ", ".join(map(str, about["seen"])) or ("not recorded" if "@" in name else "-"),
            about["recipe"] or "-",
            describe_defence(about) or "-",
        ]
        for name, about in results.protocol["models"].items()
    ]
    return TextTable(columns, [rows])


def _sets(results: Results) -> TextTable:
    columns = ["data set", "split", "n", "left out", "px", "loader's resize", "classes"]
    columns += ["prompts", "from"]
    rows = []
    for name, data in results.protocol["data"].items():
        of_models = [about for key, about in data.items() if key.startswith("under ")]
        sides = dict.fromkeys(str(r.resolution) for r in results.rows if r.dataset == name)
        resizes = dict.fromkeys(str(about["loader_resize"]) for about in of_models)
        prompts = dict.fromkeys(templates_title(about["templates"]) for about in of_models)
        rows.append(
            [
                *(name, data["split"], str(data["n"]), str(data["skipped"]), "/".join(sides)),
                *(" / ".join(resizes), str(len(data["class_names"])), " / ".join(prompts)),
                data["origin"],
            ]
        )
    return TextTable(columns, [rows])


def _runs(group: Group) -> TextTable:
    """A line a version; where evaluations differ, what each has."""
    names = list(dict.fromkeys(key for run in group.runs for key in run.results.environment))
    rows = []
    for name in ("seed", *names):
        by_value: dict[str, list[str]] = {}
        for run in group.runs:
            settings = run.results.protocol if name == "seed" else run.results.environment
            by_value.setdefault(str(settings.get(name, "-")), []).append(str(run.folder))
        values = [
            value if len(by_value) == 1 else f"{value} ({', '.join(folders)})"
            for value, folders in by_value.items()
        ]
        rows.append([name, "; ".join(values)])
    return TextTable(["field", "value"], [rows])


def _again(run: EvaluationRun) -> list[Block]:
    if not run.request:
        return [Paragraph(f"{run.folder} holds no config.yaml: its command is unknown.")]
    command = evaluate_command(run.request, run.results.rows, whole=True)
    return [Paragraph(f"{run.folder} is made again by:"), Code(command, f"Command of {run.folder}")]
