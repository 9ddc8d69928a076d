"""Measure clean and adversarial accuracy of zero-shot models."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from zsrobust.cli.output import Output, is_first_process
from zsrobust.cli.parser import Parser, add_dry_run, asks_for_help, split_dry_run
from zsrobust.config.parsing import evaluate_parser, evaluate_parser_for, parse_evaluate
from zsrobust.config.run_folder import check_out, find_run
from zsrobust.utils.files import write_text

if TYPE_CHECKING:
    from zsrobust.evaluation.results import Results


def parsers() -> list[ArgumentParser]:
    """The options of an evaluation, and of what is printed."""
    return [_completed(evaluate_parser())]


def _completed(parser: ArgumentParser) -> ArgumentParser:
    _add_compare(parser)
    add_dry_run(parser)
    return parser


def run(argv: Sequence[str], output: Output) -> None:
    """Evaluate, and print the table of accuracies."""
    if asks_for_help(argv):
        _completed(evaluate_parser_for(argv)).print_help()
        return
    # What reads data imports numpy, which help can do without.
    from zsrobust.cli.preflight import check_evaluation

    # What is printed is no part of the configuration.
    dry, argv = split_dry_run(argv)
    printing = Parser(prog="zsrobust evaluate", add_help=False)
    _add_compare(printing)
    args, argv = printing.parse_known_args(argv)
    config = parse_evaluate(argv)
    check_out(config)
    check_evaluation(config, config.model)
    if dry:
        from zsrobust.evaluation.dry_run import dry_run_evaluation

        output.show_dry_run(dry_run_evaluation(config))
        return
    from zsrobust.evaluation.evaluator import evaluate
    from zsrobust.reporting.findings import sanity_page, warnings
    from zsrobust.reporting.summary import defence_table
    from zsrobust.reporting.tables import accuracy_table

    results = evaluate(config)
    if not is_first_process():
        return
    for line in warnings(results):
        output.warn(line)
    if results.sanity:
        page = find_run(config) / "sanity.md"
        write_text(page, sanity_page(results))
        output.warn(f"sanity checks: {page}")
    table = accuracy_table(results)
    output.show(table.for_terminal(output.width))
    for note in table.notes:
        output.show(note)
    if defences := defence_table(results):
        output.show(defences.for_terminal(output.width))
        for note in defences.notes:
            output.show(note)
    if args.compare:
        _show_published(results, output)
    output.result(results.as_dict())


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--compare",
        choices=("published",),
        help="also print published results on the same data sets and attacks",
    )


def _show_published(results: Results, output: Output) -> None:
    from zsrobust.evaluation.comparison.published import authors_print, match_published
    from zsrobust.reporting.compare import HOW_PUBLISHED, published_table

    table, notes = published_table(match_published(results))
    if table.groups:
        output.show(table.for_terminal(output.width))
        notes.append(HOW_PUBLISHED)
    else:
        notes.append("no published results on these data sets and attacks")
    for line in (*notes, *authors_print(results)):
        output.show(line)
