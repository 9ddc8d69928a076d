"""The command ``zsrobust``: parse, call, print."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zsrobust._version import __version__
from zsrobust.errors import RequestError, ZSRobustError

if TYPE_CHECKING:
    from rich.console import Console

    from zsrobust.evaluation.results import Results

USAGE = """\
usage: zsrobust [--version] [--debug] COMMAND ...

commands:
  demo       fine-tune three methods live on a small world and see what becomes of robustness
  finetune   fine-tune a CLIP's image encoder for zero-shot adversarial robustness
  evaluate   clean and adversarial accuracy of zero-shot models
  compare    which differences between evaluated models are real
  seeds      mean and spread over evaluations of several seeds
  data       list, download and verify the published data sets
  recipes    list the packaged recipes

zsrobust COMMAND --help lists a command's options. Besides them, finetune, evaluate and compare take
--json (figures for machines), evaluate takes --compare published (printed rows of papers beside
yours), and every command takes --debug (the traceback of a failure)."""


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 failed, 2 bad request, 130 interrupted."""
    given = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    command, rest = (given[0], given[1:]) if given else ("--help", [])
    if command in ("--help", "-h"):
        sys.stdout.write(USAGE + "\n")
        return 0
    if command == "--version":
        sys.stdout.write(f"zsrobust {__version__}\n")
        return 0
    if command not in COMMANDS:
        return _fail(f"there is no command {command!r}: choose {', '.join(COMMANDS)}", 2)
    try:
        COMMANDS[command](rest)
    except ZSRobustError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt as stopped:
        return _fail(str(stopped) or "interrupted; the same command goes on from here", 130)
    except Exception as error:
        if debug:
            raise
        return _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1)
    return 0


def _demo(words: list[str]) -> None:
    from zsrobust.demo.command import demo
    from zsrobust.demo.request import parse_demo

    page = demo(parse_demo(words))
    for line in page.warnings:
        sys.stderr.write(line + "\n")
    console = _console()
    console.print(page.table.for_terminal())
    for line in page.lines:
        console.print(line)


def _finetune(words: list[str]) -> None:
    from zsrobust.parsing import parse_finetune
    from zsrobust.training.finetune import finetune

    words, as_json = _without(words, "--json")
    run = finetune(parse_finetune(words))
    if os.environ.get("RANK", "0") != "0":
        return  # Of several processes the first one speaks.
    if as_json:
        _write(
            json.dumps(
                {
                    "folder": str(run.folder),
                    "steps": run.steps,
                    "held_out": {"clean_acc": run.clean_acc, "robust_acc": run.robust_acc},
                }
            )
        )
        return
    _write(
        f"model in {run.folder}: on held-out images clean {run.clean_acc:.1%}, "
        f"robust {run.robust_acc:.1%}\nnext: zsrobust evaluate --model {run.folder} --data ..."
    )


def _evaluate(words: list[str]) -> None:
    from zsrobust.evaluation.evaluator import evaluate
    from zsrobust.files import write_text
    from zsrobust.parsing import parse_evaluate
    from zsrobust.reporting.findings import sanity_page, warnings
    from zsrobust.reporting.tables import accuracy_table
    from zsrobust.run_folder import find_run

    words, as_json = _without(words, "--json")
    words, published = _without(words, "--compare", "published")
    config = parse_evaluate(words)
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
        _write(json.dumps(results.as_dict()))
        return
    console = _console()
    found = accuracy_table(results)
    console.print(found.for_terminal())
    for note in found.notes:
        console.print(note)
    if published:
        _print_published(console, results)


def _print_published(console: Console, results: Results) -> None:
    from zsrobust.evaluation.published import beside
    from zsrobust.reporting.compare import HOW_PUBLISHED, published_table

    table, notes = published_table(beside(results))
    if not table.groups:
        console.print("no published row has one of these data sets and attacks")
        return
    console.print(table.for_terminal())
    for line in (*notes, HOW_PUBLISHED):
        console.print(line)


def _compare(words: list[str]) -> None:
    from zsrobust.evaluation.compare import compare
    from zsrobust.reporting.compare import HOW_COMPARED, comparison_table

    words, as_json = _without(words, "--json")
    if len(words) not in (1, 2) or words[0].startswith("-"):
        raise RequestError(
            "write zsrobust compare RUN_A RUN_B for two evaluations, or one RUN to compare its "
            "models with each other"
        )
    comparison = compare(*map(Path, words))
    if as_json:
        _write(json.dumps(comparison.as_dict()))
        return
    console = _console()
    for pair in comparison.pairs:
        console.print(f"{pair.second} against {pair.first}")
        console.print(comparison_table(pair).for_terminal())
        for remark in pair.remarks:
            console.print(remark)
    console.print(HOW_COMPARED)


def _seeds(words: list[str]) -> None:
    from zsrobust.evaluation.results import Results
    from zsrobust.evaluation.seeds import aggregate_seeds
    from zsrobust.reporting.compare import seeds_table

    if not words or words[0].startswith("-"):
        raise RequestError("write zsrobust seeds RUN RUN ... with one evaluation a seed")
    runs = [Results.read(Path(word) / "results.json") for word in words]
    _console().print(seeds_table(aggregate_seeds(runs)).for_terminal())


def _console() -> Console:
    from rich.console import Console

    # A file or a pipe has no width to fit into; names may hold brackets, which are no markup.
    return Console(width=None if sys.stdout.isatty() else 500, markup=False, highlight=False)


def _data(words: list[str]) -> None:
    from zsrobust.data_cli import data

    data(words, _console().print)


def _recipes(words: list[str]) -> None:
    from zsrobust.parsing import recipe_names, recipe_path

    for command in ("finetune", "evaluate"):
        _write(f"zsrobust {command} --config ...")
        for name in recipe_names(command):
            first = recipe_path(name, command).read_text(encoding="utf-8").splitlines()[0]
            _write(f"  {name:22}{first.removeprefix('# ')}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "demo": _demo,
    "finetune": _finetune,
    "evaluate": _evaluate,
    "compare": _compare,
    "seeds": _seeds,
    "data": _data,
    "recipes": _recipes,
}


def _without(words: list[str], *flag: str) -> tuple[list[str], bool]:
    """``words`` without the words of ``flag``, and whether they were there in a row."""
    for at in range(len(words) - len(flag) + 1):
        if tuple(words[at : at + len(flag)]) == flag:
            return words[:at] + words[at + len(flag) :], True
    return words, False


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"zsrobust: {sentence}\n")
    return code
