"""What each command does with its words: parse, call, print.

What takes torch is imported once the words are read and checked, so that help and refusals come at
once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zsrobust.utils.errors import RequestError
from zsrobust.utils.plain_json import plain_json

if TYPE_CHECKING:
    from rich.console import Console

    from zsrobust.evaluation.results import Results


def _demo(words: list[str]) -> None:
    from zsrobust.demo.request import check_demo, parse_demo

    words, as_json = _without(words, "--json")
    request = parse_demo(words)
    check_demo(request)
    from zsrobust.demo.command import demo

    page = demo(request)
    for line in page.warnings:
        sys.stderr.write(line + "\n")
    if as_json:
        _write(plain_json(page.figures))
        return
    console = _console()
    console.print(page.table.for_terminal())
    for line in page.lines:
        console.print(line)


def _finetune(words: list[str]) -> None:
    from zsrobust.cli.preflight import check_training
    from zsrobust.config.parsing import parse_finetune
    from zsrobust.config.run_folder import check_out
    from zsrobust.config.schema import to_plain

    words, as_json = _without(words, "--json")
    config = parse_finetune(words)
    check_out(config)
    check_training(config)
    from zsrobust.reporting.commands import command_after
    from zsrobust.training.finetune import finetune

    run = finetune(config)
    if os.environ.get("RANK", "0") != "0":
        return  # Of several processes the first one speaks.
    for line in run.warnings:
        _warn(f"warning: {line}: fine-tune again at a lower optimizer.lr")
    if as_json:
        held_out = {"clean_acc": run.clean_acc, "robust_acc": run.robust_acc}
        found = {"folder": run.folder, "steps": run.steps, "held_out": held_out}
        _write(plain_json({**found, "warnings": run.warnings}))
        return
    _write(
        f"model in {run.folder}: on held-out images clean {run.clean_acc:.1%}, "
        f"robust {run.robust_acc:.1%}\nnext: {command_after(to_plain(config), run.folder)}"
    )


def _evaluate(words: list[str]) -> None:
    from zsrobust.cli.preflight import check_evaluation
    from zsrobust.config.parsing import parse_evaluate
    from zsrobust.config.run_folder import check_out, find_run
    from zsrobust.utils.files import write_text

    words, as_json = _without(words, "--json")
    words, published = _without(words, "--compare", "published")
    config = parse_evaluate(words)
    check_out(config)
    check_evaluation(config, config.model)
    from zsrobust.evaluation.evaluator import evaluate
    from zsrobust.reporting.findings import sanity_page, warnings
    from zsrobust.reporting.tables import accuracy_table

    results = evaluate(config)
    if os.environ.get("RANK", "0") != "0":
        return
    for line in warnings(results):
        sys.stderr.write(line + "\n")
    if results.sanity:
        page = find_run(config) / "sanity.md"
        write_text(page, sanity_page(results))
        sys.stderr.write(f"sanity checks: {page}\n")
    if as_json:
        _write(plain_json(results.as_dict()))
        return
    console = _console()
    found = accuracy_table(results)
    console.print(found.for_terminal())
    for note in found.notes:
        console.print(note)
    if published:
        _print_published(console, results)


def _print_published(console: Console, results: Results) -> None:
    from zsrobust.evaluation.comparison.published import beside
    from zsrobust.reporting.compare import HOW_PUBLISHED, published_table

    table, notes = published_table(beside(results))
    if not table.groups:
        console.print("no published row has one of these data sets and attacks")
        return
    console.print(table.for_terminal())
    for line in (*notes, HOW_PUBLISHED):
        console.print(line)


def _compare(words: list[str]) -> None:
    from zsrobust.cli.compare import compare_parser
    from zsrobust.config.run_folder import require_folders

    words, as_json = _without(words, "--json")
    runs = compare_parser().parse_args(words).runs
    if len(runs) not in (1, 2):
        raise RequestError(
            "write zsrobust compare RUN_A RUN_B for two evaluations, or one RUN to compare its "
            "models with each other"
        )
    require_folders(runs)
    from zsrobust.evaluation.comparison.paired import compare
    from zsrobust.reporting.compare import HOW_COMPARED, comparison_table

    comparison = compare(*runs)
    if as_json:
        _write(plain_json(comparison.as_dict()))
        return
    console = _console()
    for pair in comparison.pairs:
        console.print(f"{pair.second} against {pair.first}")
        console.print(comparison_table(pair).for_terminal())
        for remark in pair.remarks:
            console.print(remark)
    console.print(HOW_COMPARED)


def _seeds(words: list[str]) -> None:
    from zsrobust.cli.compare import seeds_parser
    from zsrobust.config.run_folder import require_folders

    words, as_json = _without(words, "--json")
    folders = seeds_parser().parse_args(words).runs
    if not folders:
        raise RequestError("write zsrobust seeds RUN RUN ... with one evaluation a seed")
    require_folders(folders)
    from zsrobust.evaluation.checks.collapse import collapse_warnings
    from zsrobust.evaluation.comparison.seeds import aggregate_seeds
    from zsrobust.evaluation.results import Results
    from zsrobust.reporting.compare import seeds_table

    runs = [Results.read(folder / "results.json") for folder in folders]
    spreads = aggregate_seeds(runs)
    collapsed = list(dict.fromkeys(line for run in runs for line in collapse_warnings(run)))
    for line in collapsed:
        _warn(f"warning: {line}")
    if as_json:
        found = {"interval": "95 %, Student's over seeds", "results": spreads}
        _write(plain_json({**found, "warnings": collapsed}))
        return
    _console().print(seeds_table(spreads).for_terminal())


def _console(*, as_json: bool = False) -> Console:
    """Where words go: stdout, or stderr where figures for machines go to stdout."""
    from rich.console import Console

    # A file or a pipe has no width to fit into; names may hold brackets, which are no markup.
    terminal = (sys.stderr if as_json else sys.stdout).isatty()
    width = None if terminal else 500
    return Console(stderr=as_json, width=width, markup=False, highlight=False)


def _speaking(words: list[str]) -> tuple[list[str], Callable[[Any], None], Callable[[Any], None]]:
    """``words`` without ``--json``, and who prints words and figures, one of them on stdout."""
    words, as_json = _without(words, "--json")
    show = _console(as_json=as_json).print

    def figures(found: Any) -> None:
        if as_json:
            _write(plain_json(found))

    return words, show, figures


def _export(words: list[str]) -> None:
    from zsrobust.cli.export import run_export

    words, show, figures = _speaking(words)
    figures(run_export(words, show, _warn))


def _push(words: list[str]) -> None:
    from zsrobust.cli.export import run_push

    words, show, figures = _speaking(words)
    figures(run_push(words, show, _warn))


def _report(words: list[str]) -> None:
    from zsrobust.cli.report import run_report

    words, show, figures = _speaking(words)
    figures(run_report(words, show))


def _leaderboard(words: list[str]) -> None:
    from zsrobust.cli.report import run_leaderboard

    words, show, figures = _speaking(words)
    figures(run_leaderboard(words, show))


def _data(words: list[str]) -> None:
    from zsrobust.cli.data import data

    data(*_speaking(words))


def _recipes(words: list[str]) -> None:
    from zsrobust.cli.compare import recipes_parser
    from zsrobust.config.parsing import recipe_titles

    words, show, figures = _speaking(words)
    if recipes_parser().parse_known_args(words)[1]:
        raise RequestError("write zsrobust recipes, with --json or nothing behind it")
    found = {command: recipe_titles(command) for command in ("finetune", "evaluate")}
    for command, titles in found.items():
        show(f"zsrobust {command} --config ...")
        for name, title in titles.items():
            show(f"  {name:22}{title}")
    figures(found)


def _doctor(words: list[str]) -> None:
    from zsrobust.cli.doctor.command import require_usable, run_doctor, show_checkup

    words, show, figures = _speaking(words)
    found = run_doctor(words)
    show_checkup(found, show)
    figures(found.as_dict())
    require_usable(found)


def _completion(words: list[str]) -> None:
    from zsrobust.cli.completion import completion

    _write(completion(words, list(COMMANDS)))


def _serve(words: list[str]) -> None:
    from zsrobust.cli.serve import run_serve

    words, show, figures = _speaking(words)
    run_serve(words, show, _warn, figures)


def _sweep(words: list[str]) -> None:
    from zsrobust.cli.sweep import sweep

    sweep(*_speaking(words))


def _reproduce(words: list[str]) -> None:
    from zsrobust.cli.sweep import reproduce

    reproduce(*_speaking(words))


def _rerun(words: list[str]) -> None:
    from dataclasses import asdict

    from zsrobust.cli.rerun import require_same, run_rerun, show_rerun

    words, show, figures = _speaking(words)
    found = run_rerun(words)
    if os.environ.get("RANK", "0") == "0":
        show_rerun(found, show)
        figures({"same": found.same, **asdict(found)})
    require_same(found)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": _demo,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "compare": _compare,
    "seeds": _seeds,
    "serve": _serve,
    "report": _report,
    "leaderboard": _leaderboard,
    "sweep": _sweep,
    "reproduce": _reproduce,
    "rerun": _rerun,
    "export": _export,
    "push": _push,
    "data": _data,
    "recipes": _recipes,
    "doctor": _doctor,
    "completion": _completion,
}


def _without(words: list[str], *flag: str) -> tuple[list[str], bool]:
    """``words`` without the words of ``flag``, and whether they were there in a row."""
    for at in range(len(words) - len(flag) + 1):
        if tuple(words[at : at + len(flag)]) == flag:
            return words[:at] + words[at + len(flag) :], True
    return words, False


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _warn(line: str) -> None:
    sys.stderr.write(line + "\n")
