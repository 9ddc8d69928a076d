"""``zsrobust completion SHELL``: a script that completes commands, options and known words.

The script is written from the parsers themselves, by shtab, and is static: install it again after
an update.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import shtab

from zsrobust.attacks.registry import EXAMPLES
from zsrobust.cli.compare import compare_parser, seeds_parser
from zsrobust.cli.data import data_parsers
from zsrobust.cli.doctor.command import doctor_parser
from zsrobust.cli.export import export_parser, push_parser
from zsrobust.cli.report import leaderboard_parser, report_parser
from zsrobust.cli.rerun import rerun_parser
from zsrobust.cli.serve import serve_parser
from zsrobust.config.parsing import (
    REPEATABLE,
    evaluate_parser,
    finetune_parser,
    options_parser,
    recipe_names,
)
from zsrobust.config.word_parser import WordParser, truth
from zsrobust.data.published.table import TABLE
from zsrobust.data.registry import KINDS
from zsrobust.data.suites import SUITES
from zsrobust.demo.request import DemoRequest
from zsrobust.models.names import PACKAGED
from zsrobust.models.protocols import PROTOCOLS
from zsrobust.objectives import OBJECTIVES
from zsrobust.reproduce.options import WORLDS
from zsrobust.reproduce.options import Options as ReproduceOptions
from zsrobust.sweep.request import SweepOptions

SHELLS = ("bash", "zsh", "fish")
FOLDERS = ("out", "results", "root", "photos", "run", "runs", "folder")
Options = Callable[[], Iterable[argparse.ArgumentParser]]


def completion_parser() -> WordParser:
    """The options of ``zsrobust completion``."""
    parser = WordParser(
        prog="zsrobust completion",
        description="Print a script that completes the words of zsrobust; for bash: "
        "zsrobust completion bash > ~/.local/share/bash-completion/completions/zsrobust",
    )
    parser.add_argument("shell", choices=SHELLS)
    return parser


def completion(words: Sequence[str], commands: Sequence[str]) -> str:
    """The script for the shell that ``words`` name, over ``commands``.

    Raises:
        RequestError: if the words are wrong.
    """
    given = completion_parser().parse_args(list(words))
    script: str = shtab.complete(whole_parser(commands), given.shell)
    return script


def whole_parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    """One parser of everything: each command's options, and the words that are known for them."""
    whole = argparse.ArgumentParser("zsrobust", add_help=False)
    whole.add_argument("--version", action="store_true", help="show the version")
    # shtab passes over commands without help.
    below = whole.add_subparsers()
    for command in commands:
        its = below.add_parser(command, add_help=False, help=command)
        if command == "data":
            nested = its.add_subparsers()
            for name, parser in data_parsers().items():
                _add(nested.add_parser(name, add_help=False, help=name), name, [parser])
            continue
        _add(its, command, OPTIONS.get(command, tuple)())
        if command == "evaluate":
            its.add_argument("--compare", choices=("published",), help="rows that papers printed")
    return whole


def _sweep() -> list[argparse.ArgumentParser]:
    parser = WordParser()
    parser.add_argument("recipes", nargs="+", choices=recipe_names("finetune"))
    return [parser, options_parser(SweepOptions, command="sweep"), *_finetune()]


def _reproduce() -> list[argparse.ArgumentParser]:
    parser = WordParser()
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("root")
    return [parser, options_parser(ReproduceOptions, command="reproduce")]


def _finetune() -> list[argparse.ArgumentParser]:
    """Which options the objective has depends on the method: all are offered."""
    return [finetune_parser(method) for method in OBJECTIVES]


OPTIONS: dict[str, Options] = {
    "demo": lambda: [options_parser(DemoRequest, command="demo")],
    "finetune": _finetune,
    "evaluate": lambda: [evaluate_parser()],
    "compare": lambda: [compare_parser()],
    "seeds": lambda: [seeds_parser()],
    "report": lambda: [report_parser()],
    "leaderboard": lambda: [leaderboard_parser()],
    "sweep": _sweep,
    "reproduce": _reproduce,
    "rerun": lambda: [rerun_parser()],
    "export": lambda: [export_parser()],
    "push": lambda: [push_parser()],
    "serve": lambda: [serve_parser()],
    "doctor": lambda: [doctor_parser()],
    "completion": lambda: [completion_parser()],
}
"""The parsers of each command; one that is not here is completed by name alone."""


def _add(its: argparse.ArgumentParser, command: str, parsers: Iterable[Any]) -> None:
    """Add every option and place of ``parsers`` to ``its``, each once."""
    taken: set[str] = set()
    for parser in parsers:
        for action in parser._actions:
            if action.dest not in taken:
                taken.add(action.dest)
                _add_one(its, command, action)
    for flag, words in (("--json", "figures for machines"), ("--debug", "show tracebacks")):
        if command != "completion":
            its.add_argument(flag, action="store_true", help=words)


def _add_one(its: argparse.ArgumentParser, command: str, action: Any) -> None:
    names = [name for name in action.option_strings if not name.endswith("+")]
    words: dict[str, Any] = {"help": (action.help or "").partition("\n")[0].replace("%", "%%")}
    if action.nargs == 0:
        its.add_argument(*names, action="store_true", **words)
        return
    if known := _words(command, action):
        words["choices"] = known
    several = action.dest in REPEATABLE or action.nargs in ("+", "*")
    added = its.add_argument(*(names or [action.dest]), nargs="+" if several else None, **words)
    if action.dest in FOLDERS or (command == "export" and action.dest == "model"):
        added.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _words(command: str, action: Any) -> list[str]:
    """What may stand there, where that is known."""
    if action.choices:
        return [str(choice) for choice in action.choices]
    known: dict[str, Callable[[], Iterable[str]]] = {
        "config": lambda: recipe_names("evaluate" if command == "evaluate" else "finetune"),
        "method": lambda: OBJECTIVES,
        "attack": lambda: EXAMPLES if command == "evaluate" else (),
        "preprocessing": lambda: PROTOCOLS,
        "model": lambda: _models() if command != "export" else (),
        "data": lambda: [*SUITES, *KINDS],
        "name": lambda: TABLE,
    }
    if action.dest in known:
        return list(known[action.dest]())
    hint = getattr(action, "_typehint", None)
    if hint is bool or action.type is truth:
        return ["true", "false"]
    # A Literal, or a Literal or None.
    found = [word for part in (hint, *get_args(hint)) for word in get_args(part)]
    return [word for word in dict.fromkeys(found) if isinstance(word, str)]


def _models() -> list[str]:
    import open_clip

    tagged = [f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()]
    return [*PACKAGED, *tagged]
