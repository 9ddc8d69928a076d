"""Show mean and standard deviation over the seeds of several evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.config.run_folder import require_folders
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """Any number of runs."""
    parser = Parser(prog="zsrobust seeds", description=__doc__)
    parser.add_argument(
        "runs", nargs="*", type=local_path, metavar="RUN", help="folders of evaluate, one a seed"
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Aggregate, and print the table."""
    [parser] = parsers()
    folders = parser.parse_args(argv).runs
    if not folders:
        raise RequestError("write zsrobust seeds RUN RUN ... with one evaluation a seed")
    require_folders(folders)
    from zsrobust.evaluation.checks.collapse import collapse_warnings
    from zsrobust.evaluation.comparison.seeds import aggregate_seeds
    from zsrobust.evaluation.results import Results
    from zsrobust.reporting.compare import seeds_table

    runs = [Results.read(folder / "results.json") for folder in folders]
    spreads = aggregate_seeds(runs)
    collapsed = list(dict.fromkeys(line for one in runs for line in collapse_warnings(one)))
    for line in collapsed:
        output.warn(f"warning: {line}")
    output.show(seeds_table(spreads).for_terminal(output.width))
    output.result(
        {"interval": "95 %, Student's over seeds", "results": spreads, "warnings": collapsed}
    )
