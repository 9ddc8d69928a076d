"""Repeat the comparison of PMG-AFT and TeCoA, from fine-tuning to tables and figures."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser, asks_for_help
from zsrobust.config.parsing import options_parser
from zsrobust.reproduce.options import USAGE, WORLDS, Options
from zsrobust.reproduce.request import parse_reproduce


def parsers() -> list[ArgumentParser]:
    """What to reproduce, and its options."""
    parser = Parser()
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("root", metavar="DIR")
    return [parser, options_parser(Options, command="reproduce")]


def run(argv: Sequence[str], output: Output) -> None:
    """Run a replication, and show its tables."""
    if asks_for_help(argv):
        sys.stdout.write(f"{USAGE}\n")
        return
    request = parse_reproduce(argv)
    from zsrobust.reproduce.paper import plan_in_words
    from zsrobust.reproduce.run import reproduce

    if request.plan is not None:
        for line in plan_in_words(request.plan):
            output.show(line)
        output.result({"plan": plan_in_words(request.plan)})
        return
    found = reproduce(request.experiment, compute=request.compute)
    output.show(found.text)
    for stage, count in found.missing.items():
        if count:
            output.show(f"{stage}: {count} models are not evaluated yet")
    output.show(f"tables: {found.tables}")
    for path in found.figures:
        if path.suffix == ".png":
            output.show(f"figure: {path} (and .svg)")
    output.result({"tables": found.tables, "figures": found.figures, "missing": found.missing})
