"""Write an HTML report of runs, with every figure and table.

The page is DIR/report.html; every figure (PNG, SVG) and table (CSV, LaTeX, Markdown) of it is in
DIR/files. Evaluations under one protocol are shown together, and models of one recipe that differ
in their seed as mean and spread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.run_folder import require_folders
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """Runs, and the folder of the report."""
    parser = Parser(prog="zsrobust report", description=__doc__)
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
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Write the report, and say where it is."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    require_folders(args.runs)
    from zsrobust.reporting.report import write_report

    written = write_report(args.runs, args.out)
    folder = written.files[0].parent
    output.show(f"report: {written.page}, with {len(written.files)} files in {folder}")
    output.result(asdict(written))
