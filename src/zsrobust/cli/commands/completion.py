"""Print a script that completes commands, options and values in bash, zsh or fish.

For bash: zsrobust completion bash > ~/.local/share/bash-completion/completions/zsrobust
The script is static: install it again after an update.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import shtab

from zsrobust.attacks.registry import EXAMPLES
from zsrobust.cli.commands import command_module, command_names, summary
from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser, boolean
from zsrobust.config.parsing import REPEATABLE
from zsrobust.config.recipes import recipe_names
from zsrobust.data.published.sets import published_sets
from zsrobust.data.suites import SUITES
from zsrobust.models.protocols import PROTOCOLS
from zsrobust.models.zoo import entries
from zsrobust.objectives import OBJECTIVES

SHELLS = ("bash", "zsh", "fish")
FOLDERS = {"RUN", "EVAL_RUN", "DIR", "FOLDER", "ROOT"}


def parsers() -> list[Parser]:
    """The shell."""
    parser = Parser(
        prog="zsrobust completion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS)
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Write the script, by shtab: jsonargparse's own support for it knows no names of models."""
    [parser] = parsers()
    shell = parser.parse_args(argv).shell
    script = shtab.complete(full_parser(), shell)
    output.show(script)
    output.result({"shell": shell, "script": script})


def full_parser() -> argparse.ArgumentParser:
    """One parser of every command, its options, and the values that are known for them."""
    full = argparse.ArgumentParser("zsrobust", add_help=False)
    full.add_argument("--version", action="store_true", help="show the version")
    # shtab passes over commands without help.
    below = full.add_subparsers()
    for command in command_names():
        added = below.add_parser(command, add_help=False, help=summary(command))
        _add_options(added, command, command_module(command).parsers())
    return full


def _add_options(
    to: argparse.ArgumentParser, command: str, parsers: Iterable[argparse.ArgumentParser]
) -> None:
    """Add every option and positional of ``parsers`` to ``to``, each once."""
    actions = {action.dest: action for parser in parsers for action in reversed(parser._actions)}
    for action in reversed(actions.values()):
        if isinstance(action, argparse._SubParsersAction):
            below = to.add_subparsers()
            for name, parser in action.choices.items():
                _add_options(below.add_parser(name, add_help=False, help=name), command, [parser])
        # jsonargparse's options of a whole group are refused: keys are given one by one.
        elif action.metavar != "CONFIG":
            _add_option(to, command, action)
    to.add_argument("--json", action="store_true", help="JSON on stdout")
    to.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_option(to: argparse.ArgumentParser, command: str, action: Any) -> None:
    names = [name for name in action.option_strings if not name.endswith("+")]
    about: dict[str, Any] = {"help": (action.help or "").partition("\n")[0].replace("%", "%%")}
    if action.nargs == 0:
        to.add_argument(*names, action="store_true", **about)
        return
    folder = action.metavar in FOLDERS or action.dest in ("out", "photos")
    if not folder and (values := _values(command, action)):
        about["choices"] = values
    several = action.dest in REPEATABLE or action.nargs in ("+", "*")
    added = to.add_argument(*(names or [action.dest]), nargs="+" if several else None, **about)
    if folder:
        added.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _values(command: str, action: Any) -> list[str]:
    """What may stand there, where that is known."""
    if action.choices:
        return [str(choice) for choice in action.choices]
    known: dict[str, Callable[[], Iterable[str]]] = {
        "config": lambda: recipe_names("evaluate" if command == "evaluate" else "finetune"),
        "method": lambda: OBJECTIVES,
        "attack": lambda: EXAMPLES if command == "evaluate" else (),
        "preprocessing": lambda: PROTOCOLS,
        "model": _models,
        "data": _data,
        "name": published_sets,
        "entry": entries,
    }
    if action.dest in known:
        return list(known[action.dest]())
    hint = getattr(action, "_typehint", None)
    if hint is bool or action.type is boolean:
        return ["true", "false"]
    # A Literal, or a Literal or None.
    found = [value for part in (hint, *get_args(hint)) for value in get_args(part)]
    return [value for value in dict.fromkeys(found) if isinstance(value, str)]


def _data() -> list[str]:
    from zsrobust.data.registry import OWN, kinds

    return [*SUITES, *kinds(), *OWN]


def _models() -> list[str]:
    import open_clip

    tagged = [f"{architecture}/{tag}" for architecture, tag in open_clip.list_pretrained()]
    return [*entries(), *tagged]
