"""The command ``zsrobust``: parse, call, print."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from zsrobust._version import __version__
from zsrobust.errors import ZSRobustError

USAGE = """\
usage: zsrobust [--version] [--debug] COMMAND ...

commands:
  finetune   fine-tune a CLIP's image encoder for zero-shot adversarial robustness
  evaluate   clean and adversarial accuracy of zero-shot models
  recipes    list the packaged recipes

zsrobust COMMAND --help lists a command's options; --debug shows the traceback of a failure."""


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


def _finetune(words: list[str]) -> None:
    from zsrobust.parsing import parse_finetune
    from zsrobust.training.finetune import finetune

    words, as_json = _without_json(words)
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
    from rich.console import Console

    from zsrobust.evaluation.evaluator import evaluate
    from zsrobust.parsing import parse_evaluate
    from zsrobust.reporting.tables import accuracy_table

    words, as_json = _without_json(words)
    results = evaluate(parse_evaluate(words))
    if as_json:
        _write(json.dumps(results.as_dict()))
    else:
        # A file or a pipe has no width to fit into.
        console = Console(width=None if sys.stdout.isatty() else 500)
        console.print(accuracy_table(results).for_terminal())


def _recipes(words: list[str]) -> None:
    from zsrobust.parsing import recipe_names, recipe_path

    for name in recipe_names():
        first = recipe_path(name).read_text(encoding="utf-8").splitlines()[0]
        _write(f"{name:24}{first.removeprefix('# ')}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "finetune": _finetune,
    "evaluate": _evaluate,
    "recipes": _recipes,
}


def _without_json(words: list[str]) -> tuple[list[str], bool]:
    return [word for word in words if word != "--json"], "--json" in words


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(sentence: str, code: int) -> int:
    sys.stderr.write(f"zsrobust: {sentence}\n")
    return code
