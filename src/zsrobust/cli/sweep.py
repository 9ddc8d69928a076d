"""``zsrobust sweep`` and ``zsrobust reproduce``: parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from zsrobust.utils.errors import RunError

Say = Callable[[object], None]


def sweep(words: Sequence[str], show: Say, figures: Say) -> None:
    """Run a sweep and show its table; ``figures`` takes what there is for machines."""
    from zsrobust.cli.preflight import check_evaluation, check_training
    from zsrobust.sweep.request import USAGE, parse_sweep

    if words[:1] == ["--help"]:
        sys.stdout.write(f"{USAGE}\n")
        return
    asked = parse_sweep(words)
    for config in asked.recipes.values():
        check_training(config)
    # Which models are evaluated is not known before they are trained.
    check_evaluation(asked.evaluation, [])
    from zsrobust.evaluation.checks.collapse import collapse_warnings
    from zsrobust.sweep.run import run_sweep

    swept = run_sweep(asked)
    show(swept.table.for_terminal())
    for line in (*swept.table.notes, f"table: {swept.table_file}"):
        show(line)
    for path in swept.figures:
        if path.suffix == ".png":
            show(f"figure: {path} (and .svg)")
    figures(
        {
            "table": swept.table_file,
            "figures": swept.figures,
            "diverged": swept.diverged,
            "warnings": collapse_warnings(swept.run.results),
            "averages": swept.run.results.as_dict()["averages"],
        }
    )
    if swept.diverged:
        raise RunError(f"{len(swept.diverged)} runs diverged: {', '.join(swept.diverged)}")


def reproduce(words: Sequence[str], show: Say, figures: Say) -> None:
    """Run a replication and show its tables; ``figures`` takes what there is for machines."""
    from zsrobust.reproduce.options import USAGE
    from zsrobust.reproduce.request import parse_reproduce

    if words[:1] == ["--help"]:
        sys.stdout.write(f"{USAGE}\n")
        return
    request = parse_reproduce(words)
    from zsrobust.reproduce.paper import plan_in_words
    from zsrobust.reproduce.run import reproduce as run

    if request.plan is not None:
        for line in plan_in_words(request.plan):
            show(line)
        figures({"plan": plan_in_words(request.plan)})
        return
    found = run(request.experiment, compute=request.compute)
    show(found.text)
    for stage, count in found.missing.items():
        if count:
            show(f"{stage}: {count} models are not evaluated yet")
    show(f"tables: {found.tables}")
    for path in found.figures:
        if path.suffix == ".png":
            show(f"figure: {path} (and .svg)")
    figures({"tables": found.tables, "figures": found.figures, "missing": found.missing})
