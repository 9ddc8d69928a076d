"""argparse as the commands use it: an error is one sentence, and ``--help`` wins over errors."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NoReturn

from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import no_option, unknown

# As YAML reads them, and so the options of finetune and evaluate.
BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def boolean(text: str) -> bool:
    """``true`` or ``false``.

    Raises:
        ArgumentTypeError: for other values.
    """
    if text.lower() not in BOOLEANS:
        raise argparse.ArgumentTypeError(f"is {text}: must be true or false")
    return BOOLEANS[text.lower()]


class Parser(argparse.ArgumentParser):
    """A parser that raises where argparse prints an error and exits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def add_switch(self, name: str, *, help: str) -> None:
        """Add an option that is given as ``NAME``, ``NAME true`` or ``NAME false``."""
        self.add_argument(name, type=boolean, default=False, metavar="true|false", help=help)

    def parse_known_args(  # type: ignore[override]
        self, argv: Sequence[str], namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, with ``NAME`` for ``NAME=true`` where no truth value follows."""
        if asks_for_help(argv) and not self._names_subcommand(argv):
            self.print_help()
            self.exit()
        switches = {name for a in self._actions if a.type is boolean for name in a.option_strings}
        following = [*argv, ""][1:]
        explicit = [
            f"{arg}=true" if arg in switches and then.lower() not in BOOLEANS else arg
            for arg, then in zip(argv, following, strict=True)
        ]
        return super().parse_known_args(explicit, namespace)

    def parse_args(  # type: ignore[override]
        self, argv: Sequence[str], namespace: Any = None
    ) -> argparse.Namespace:
        """As argparse's, with the option that was probably meant in the sentence of a refusal."""
        self._refuse_unknown(argv)
        found, rest = self.parse_known_args(argv, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found

    def _refuse_unknown(self, argv: Sequence[str]) -> None:
        """Refuse an option that there is not, before argparse names what it misses."""
        if asks_for_help(argv):
            return
        parser = self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction) and argv[:1]:
                parser = action.choices.get(argv[0], self)
        known = [name for action in parser._actions for name in action.option_strings]
        for argument in takewhile(lambda argument: argument != "--", argv):
            option = argument.partition("=")[0]
            if re.match("--?[A-Za-z]", option) and option not in known:
                parser._refuse_named(option)
                names = [name.lstrip("-") for name in known] + ["debug", "json"]
                raise RequestError(no_option(option, names, help=f"see {parser.prog} --help"))

    def _refuse_named(self, option: str) -> None:
        """Refuse ``--model X`` where a model is written without an option."""
        for action in self._get_positional_actions():
            name = str(action.metavar or action.dest.upper())
            if option.rstrip("s") in (
                f"--{one.lower().rstrip('s')}" for one in (action.dest, name)
            ):
                raise RequestError(
                    f"there is no option {option}: write {name} without it, as in "
                    f"{self.prog} {name}"
                )

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            subcommand = isinstance(action, argparse._SubParsersAction)
            kind = "subcommand" if subcommand else (action.option_strings or [action.dest])[0]
            raise RequestError(unknown(kind, str(value), list(map(str, action.choices))))

    def _names_subcommand(self, argv: Sequence[str]) -> bool:
        return any(
            argv[0] in action.choices
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
        )


def asks_for_help(argv: Sequence[str]) -> bool:
    """Whether ``--help`` or ``-h`` is among the arguments."""
    return not {"--help", "-h"}.isdisjoint(argv)


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--dry_run``, which is no part of a run's configuration."""
    parser.add_argument(
        "--dry_run",
        type=boolean,
        default=False,
        metavar="{true,false}",
        help="print what would run, and its passes, time, memory and disk space; write nothing",
    )


def split_dry_run(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether ``--dry_run`` was given, and the other arguments."""
    parser = Parser(add_help=False)
    add_dry_run(parser)
    args, others = parser.parse_known_args(argv)
    return args.dry_run, others
