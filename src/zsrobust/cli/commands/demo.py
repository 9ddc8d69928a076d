"""Fine-tune a small model with three methods, and compare clean and robust accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from zsrobust.cli.output import Output
from zsrobust.cli.parser import asks_for_help
from zsrobust.config.parsing import options_parser, parse_options
from zsrobust.demo.request import EXAMPLES, DemoRequest, check_demo


def parsers() -> list[ArgumentParser]:
    """The options of ``DemoRequest``."""
    return [options_parser(DemoRequest, command="demo", description=__doc__)]


def parse(argv: Sequence[str]) -> DemoRequest:
    """The demonstration that the arguments ask for.

    Raises:
        RequestError: if an argument is wrong.
    """
    # --photos may be given without a folder.
    following = [*argv, "--"][1:]
    argv = [
        f"--photos={EXAMPLES}" if argument == "--photos" and then.startswith("--") else argument
        for argument, then in zip(argv, following, strict=True)
    ]
    return DemoRequest(**parse_options(DemoRequest, argv, command="demo", description=""))


def run(argv: Sequence[str], output: Output) -> None:
    """Run the demonstration, and print its table and what it says."""
    if asks_for_help(argv):
        parsers()[0].print_help()
        return
    request = parse(argv)
    check_demo(request)
    from zsrobust.demo.command import demo

    page = demo(request)
    for line in page.warnings:
        output.warn(line)
    output.show(page.table.for_terminal(output.width))
    for line in page.lines:
        output.show(line)
    output.result(page.figures)
