"""Repeat a run from its config.yaml, and compare every value.

A finished run of finetune or evaluate is repeated from its own config.yaml. Every value is compared
bit for bit, and differences of the environment are listed. Relative paths start from here, as they
did for the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from zsrobust.cli.output import Output, is_first_process
from zsrobust.cli.parser import Parser
from zsrobust.utils.errors import RunError
from zsrobust.utils.files import local_path

if TYPE_CHECKING:
    from zsrobust.sweep.rerun import Rerun

MOST_SHOWN = 10


def parsers() -> list[Parser]:
    """The run, and the folder of its repetition."""
    parser = Parser(prog="zsrobust rerun", description=__doc__)
    parser.add_argument(
        "run", type=local_path, metavar="RUN", help="a folder of finetune or evaluate"
    )
    parser.add_argument(
        "--out", type=local_path, metavar="DIR", help="where to repeat it (RUN-again, next to it)"
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Repeat the run, and fail where a value differs."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    from zsrobust.sweep.rerun import rerun

    found = rerun(args.run, args.out)
    if is_first_process():
        _show(found, output)
        output.result({"same": found.same, **asdict(found)})
    if not found.same:
        raise RunError(
            f"{found.again} is not {found.run} bit for bit: {len(found.differences)} of "
            f"{found.columns} columns differ"
        )


def _show(found: Rerun, output: Output) -> None:
    if found.same:
        output.show(
            f"{found.again} is {found.run} bit for bit: {found.values} values in "
            f"{found.columns} columns"
        )
    for one in found.differences[:MOST_SHOWN]:
        output.show(one.sentence())
    if len(found.differences) > MOST_SHOWN:
        output.show(f"and {len(found.differences) - MOST_SHOWN} columns more")
    for name, (then, now) in found.environment.items():
        output.show(f"{name}: {then or 'not recorded'} then, {now or 'not recorded'} now")
    if not found.environment:
        output.show("the environment is the same in all that is recorded of it")
