"""Test differences between evaluated models for significance, paired by sample."""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.run_folder import require_folders
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """One or two runs."""
    parser = Parser(prog="zsrobust compare", description=__doc__)
    parser.add_argument(
        "runs",
        nargs="*",
        type=local_path,
        metavar="RUN",
        help="evaluation folders: two, or one to compare its models with each other",
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Compare, and print a table for each pair of models."""
    [parser] = parsers()
    runs = parser.parse_args(argv).runs
    if len(runs) not in (1, 2):
        raise RequestError(
            "write zsrobust compare RUN_A RUN_B for two evaluations, or one RUN to compare its "
            "models with each other"
        )
    require_folders(runs)
    from zsrobust.evaluation.comparison.paired import compare
    from zsrobust.reporting.compare import HOW_COMPARED, comparison_table

    comparison = compare(*runs)
    for pair in comparison.pairs:
        output.show(f"{pair.second} against {pair.first}")
        output.show(comparison_table(pair).for_terminal(output.width))
        for remark in pair.remarks:
            output.show(remark)
    output.show(HOW_COMPARED)
    output.result(comparison.as_dict())
