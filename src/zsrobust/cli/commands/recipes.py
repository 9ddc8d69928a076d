"""List the packaged recipes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.recipes import recipe_titles


def parsers() -> list[Parser]:
    """No options of its own."""
    return [Parser(prog="zsrobust recipes", description=__doc__)]


def run(argv: Sequence[str], output: Output) -> None:
    """Print each recipe: its name, and the first sentence of its file."""
    [parser] = parsers()
    parser.parse_args(argv)
    found = {command: recipe_titles(command) for command in ("finetune", "evaluate")}
    for command, titles in found.items():
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        for name, title in titles.items():
            table.add_row(f"  {name}", Text(title))
        output.show(f"zsrobust {command} --config")
        output.show(table)
    output.result(found)
