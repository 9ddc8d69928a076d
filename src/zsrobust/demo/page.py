"""What a demonstration prints at the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from zsrobust.demo.claim import sentence
from zsrobust.demo.plan import Plan
from zsrobust.demo.request import DemoRequest
from zsrobust.demo.run import Finished
from zsrobust.evaluation.gallery import Gallery
from zsrobust.reporting.findings import warnings
from zsrobust.reporting.names import method_title
from zsrobust.reporting.summary import summary_table
from zsrobust.reporting.tables import TextTable
from zsrobust.utils.progress import format_seconds


@dataclass(frozen=True)
class Page:
    """What is printed.

    Attributes:
        warnings: of the evaluation's checks.
        table: the results in short.
        lines: everything else, in order.
        figures: the same for machines.
    """

    warnings: list[str]
    table: TextTable
    lines: list[str]
    figures: dict[str, Any]


def page(plan: Plan, done: Finished, request: DemoRequest) -> Page:
    """The page of a plan that was run."""
    seeds = len(plan.seeds)
    chance = (
        "Intervals are 95 % over samples. Each method was trained once: another seed may give "
        "another difference."
        if seeds == 1
        else "Intervals are 95 %: over samples, or Student's over the "
        f"{seeds} seeds of a method where that is wider."
    )
    pictures = [path for path in done.figures if path.suffix == ".png"]
    lines = [
        chance,
        f"every set: {done.table}",
        *(f"figure: {path} (and .svg)" for path in pictures),
        sentence(done.claim),
        plan.remark,
        f"{format_seconds(done.seconds)} in all; again: {request.command}",
    ]
    figures = {
        "folder": request.folder,
        "command": request.command,
        "seconds": done.seconds,
        "claim": {
            "first": "tecoa",
            "second": "pmg_aft",
            **asdict(done.claim),
            "verdict": done.claim.verdict,
        },
        "averages": done.run.results.as_dict()["averages"],
        "results": done.run.folder / "results.json",
        "table": done.table,
        "figures": done.figures,
    }
    return Page(warnings(done.run.results), summary_table(done.run.results), lines, figures)


def examples_page(gallery: Gallery, request: DemoRequest) -> Page:
    """A row a photograph: each model's prediction before the attack, and after one against it."""
    columns = ["photograph"]
    rows = [[item.label] for item in gallery.items]
    lines, counts = [], []
    for index, (model, method) in enumerate(gallery.methods.items()):
        name = method_title(method)
        columns += [f"{name}, clean", f"{name}, attacked"]
        before = [item.views[0].predictions[model] for item in gallery.items]
        after = [item.views[1 + index].predictions[model] for item in gallery.items]
        for row, clean, robust in zip(rows, before, after, strict=True):
            row += [clean.caption, robust.caption]
        right = sum(one.right for one in before)
        still = sum(a.right and b.right for a, b in zip(before, after, strict=True))
        counts.append({"model": model, "n": len(rows), "clean": right, "robust": still})
        lines.append(
            f"{name} ({model}) has {right} of {len(rows)} right, and {still} after {gallery.attack}"
        )
    lines += [
        "zsrobust demo --photos DIR, with class folders of yours, trains robust models on them",
        f"figure: {request.folder / 'gallery.png'} (and .svg)",
        f"{gallery.chosen} So few say nothing about accuracy.",
        f"again: {request.command}",
    ]
    figures = {
        "folder": request.folder,
        "command": request.command,
        "attack": gallery.attack,
        "right": counts,
        "figures": [request.folder / f"gallery.{kind}" for kind in ("png", "svg")],
    }
    return Page([], TextTable(columns, [rows]), lines, figures)
