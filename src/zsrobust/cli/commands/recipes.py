"""List the packaged recipes."""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.recipes import recipe_titles


def parsers() -> list[Parser]:
    """No options of its own."""
    return [Parser(prog="zsrobust recipes", description=__doc__)]


def run(argv: Sequence[str], output: Output) -> None:
    """Print a line a recipe: its name, and the first line of its file."""
    [parser] = parsers()
    parser.parse_args(argv)
    found = {command: recipe_titles(command) for command in ("finetune", "evaluate")}
    for command, titles in found.items():
        output.show(f"zsrobust {command} --config ...")
        for name, title in titles.items():
            output.show(f"  {name:22}{title}")
    output.result(found)
