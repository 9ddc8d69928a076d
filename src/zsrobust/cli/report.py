"""``zsrobust report`` and ``zsrobust leaderboard``: from words to what is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from zsrobust.config.run_folder import require_folders
from zsrobust.config.word_parser import WordParser
from zsrobust.utils.files import local_path

Say = Callable[[str], None]


def report_parser() -> WordParser:
    """The options of ``zsrobust report``."""
    parser = WordParser(
        prog="zsrobust report",
        description="Write one page, DIR/report.html, on runs, from their results files alone; and "
        "every figure (PNG, SVG) and table (CSV, LaTeX, Markdown) of it to DIR/files. "
        "Evaluations that were measured the same way are shown together, and models of one recipe "
        "that differ in their seed as mean and spread.",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=local_path,
        metavar="RUN",
        help="folders of evaluate, finetune and demo",
    )
    parser.add_argument(
        "--out",
        default="report",
        type=local_path,
        metavar="DIR",
        help="a folder (report); an earlier report in it is replaced",
    )
    return parser


def leaderboard_parser() -> WordParser:
    """The options of ``zsrobust leaderboard``."""
    parser = WordParser(
        prog="zsrobust leaderboard",
        description="Write one page that ranks models, a table for each attack and radius. Only "
        "models that were measured the same way are in one table, ranked by their average over the "
        "sets they have in common; rows that papers printed are in tables of their own.",
    )
    parser.add_argument(
        "runs", nargs="+", type=local_path, metavar="RUN", help="folders of evaluate and demo"
    )
    parser.add_argument(
        "--out",
        default="leaderboard.html",
        type=local_path,
        metavar="FILE",
        help="a file (leaderboard.html); an earlier leaderboard is replaced",
    )
    return parser


def run_report(words: Sequence[str], show: Say) -> dict[str, Any]:
    """Write a report; ``show`` prints a line. Figures for machines come back.

    Raises:
        RequestError: if the words are wrong, or a run or ``--out`` is not what it must be.
    """
    given = report_parser().parse_args(list(words))
    require_folders(given.runs)
    from zsrobust.reporting.report import write_report

    written = write_report(given.runs, given.out)
    show(f"report: {written.page}, with {len(written.files)} files in {written.files[0].parent}")
    return asdict(written)


def run_leaderboard(words: Sequence[str], show: Say) -> dict[str, Any]:
    """Write a leaderboard; ``show`` prints a line. Figures for machines come back.

    Raises:
        RequestError: if the words are wrong, or a run or ``--out`` is not what it must be.
    """
    given = leaderboard_parser().parse_args(list(words))
    require_folders(given.runs)
    from zsrobust.reporting.leaderboard import write_leaderboard

    ranked = write_leaderboard(given.runs, given.out)
    show(f"leaderboard: {ranked.page}, {len(ranked.ours)} tables of models measured here")
    return asdict(ranked)
