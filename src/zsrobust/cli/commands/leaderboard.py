"""Rank models evaluated under one protocol on an HTML page.

It has a table for each attack and radius. Only models that were evaluated under the same protocol
are in one table, ranked by their average over the data sets they have in common. Rows that papers
printed are in tables of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.run_folder import require_folders
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """Runs, and the page."""
    parser = Parser(prog="zsrobust leaderboard", description=__doc__)
    parser.add_argument(
        "runs", nargs="+", type=local_path, metavar="RUN", help="folders of evaluate and demo"
    )
    parser.add_argument(
        "--out",
        default="leaderboard.html",
        type=local_path,
        metavar="FILE",
        help="output file (leaderboard.html); an earlier leaderboard is replaced",
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Write the page, and say where it is."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    require_folders(args.runs)
    from zsrobust.reporting.leaderboard import write_leaderboard

    ranked = write_leaderboard(args.runs, args.out)
    output.show(f"leaderboard: {ranked.page}, {len(ranked.ours)} tables of models measured here")
    output.result(asdict(ranked))
