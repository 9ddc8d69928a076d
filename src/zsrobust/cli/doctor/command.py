"""``zsrobust doctor``: from words to what is printed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from zsrobust.cli.doctor.checkup import Checkup, checkup
from zsrobust.config.word_parser import WordParser
from zsrobust.utils.errors import RunError
from zsrobust.utils.files import local_path

STYLES = {"ok": "green", "note": "yellow", "broken": "bold red"}


def doctor_parser() -> WordParser:
    """The options of ``zsrobust doctor``."""
    parser = WordParser(
        prog="zsrobust doctor",
        description="What is installed and at hand here, and what is wrong; no network is used.",
    )
    default = os.environ.get("ZSROBUST_DATA", "data")
    parser.add_argument(
        "--root",
        default=default,
        type=local_path,
        metavar="DIR",
        help="where published sets lie ($ZSROBUST_DATA)",
    )
    return parser


def run_doctor(words: Sequence[str]) -> Checkup:
    """Look at everything.

    Raises:
        RequestError: if the words are wrong.
    """
    return checkup(doctor_parser().parse_args(list(words)).root)


def show_checkup(found: Checkup, show: Callable[[Any], None]) -> None:
    """Print a line a finding, then what is wrong and what to do."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in ("", "what", "state", "found"):
        table.add_column(heading, overflow="fold")
    topic = ""
    for one in found.findings:
        first = "" if one.topic == topic else one.topic
        topic = one.topic
        # Plain text: paths may hold brackets, which are no markup.
        cells = (Text(first), Text(one.name), Text(one.state, STYLES[one.state]), Text(one.words))
        table.add_row(*cells)
    show(table)
    for one in found.problems:
        show(f"{one.name}: {one.words}" + (f"; {one.remedy}" if one.remedy else ""))
    show("usable" if found.usable else "not usable until what is broken is mended")


def require_usable(found: Checkup) -> None:
    """Fail where something that is needed is broken.

    Raises:
        RunError: naming what.
    """
    broken = [one.name for one in found.findings if one.state == "broken"]
    if broken:
        raise RunError(f"something needed is broken here: {', '.join(broken)}")
