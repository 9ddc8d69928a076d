"""Check the installation: packages, devices, models, data sets and disk; uses no network."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from zsrobust.cli.checkup import Checkup, checkup
from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.utils.errors import RunError
from zsrobust.utils.files import local_path

STYLES = {"ok": "green", "absent": "dim", "note": "yellow", "broken": "bold red"}


def parsers() -> list[Parser]:
    """Folder of the data sets."""
    parser = Parser(prog="zsrobust doctor", description=__doc__)
    parser.add_argument(
        "--root",
        default=os.environ.get("ZSROBUST_DATA", "data"),
        type=local_path,
        metavar="DIR",
        help="folder of the published data sets ($ZSROBUST_DATA, else ./data)",
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Check everything, print what is found, and fail where something needed is broken."""
    [parser] = parsers()
    found = checkup(parser.parse_args(argv).root)
    output.show(_table(found))
    for one in found.problems:
        output.show(f"{one.name}: {one.text}" + (f"; {one.remedy}" if one.remedy else ""))
    output.show("usable" if found.usable else "not usable until what is broken is repaired")
    output.result(found.as_dict())
    broken = [one.name for one in found.findings if one.state == "broken"]
    if broken:
        raise RunError(f"something needed is broken here: {', '.join(broken)}")


def _table(found: Checkup) -> Table:
    """A line a finding."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("", "what", "state", "found"):
        table.add_column(heading, overflow="fold")
    topic = ""
    for one in found.findings:
        first = "" if one.topic == topic else one.topic
        topic = one.topic
        # Plain text: paths may hold brackets, which are no markup.
        cells = (Text(first), Text(one.name), Text(one.state, STYLES[one.state]), Text(one.text))
        table.add_row(*cells)
    return table
