"""Fine-tune many recipes and seeds on one budget, ending in one table and plot."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from zsrobust.cli.commands import finetune
from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser, asks_for_help
from zsrobust.cli.preflight import check_evaluation, check_training
from zsrobust.config.parsing import options_parser
from zsrobust.config.recipes import recipe_names
from zsrobust.sweep.request import USAGE, SweepOptions, parse_sweep
from zsrobust.utils.errors import RunError


def parsers() -> list[ArgumentParser]:
    """Recipes, the sweep's own options, and those of finetune."""
    parser = Parser()
    parser.add_argument("recipes", nargs="+", choices=recipe_names("finetune"))
    return [parser, options_parser(SweepOptions, command="sweep"), *finetune.parsers()]


def run(argv: Sequence[str], output: Output) -> None:
    """Run a sweep, and show its table."""
    if asks_for_help(argv):
        sys.stdout.write(f"{USAGE}\n")
        return
    asked = parse_sweep(argv)
    for config in asked.recipes.values():
        check_training(config)
    # Which models are evaluated is not known before they are trained.
    check_evaluation(asked.evaluation, [])
    from zsrobust.evaluation.checks.collapse import collapse_warnings
    from zsrobust.sweep.run import run_sweep

    swept = run_sweep(asked)
    output.show(swept.table.for_terminal())
    for line in (*swept.table.notes, f"table: {swept.table_file}"):
        output.show(line)
    for path in swept.figures:
        if path.suffix == ".png":
            output.show(f"figure: {path} (and .svg)")
    output.result(
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
