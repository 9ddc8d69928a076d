"""argparse as the commands use it: what is wrong is one sentence, and options are whole words."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from zsrobust.utils.errors import RequestError

# As YAML reads them, and so the options of finetune and evaluate.
TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def truth(text: str) -> bool:
    """``true`` or ``false``.

    Raises:
        ArgumentTypeError: for other words.
    """
    if text.lower() not in TRUTH:
        raise argparse.ArgumentTypeError(f"is {text}: must be true or false")
    return TRUTH[text.lower()]


class WordParser(argparse.ArgumentParser):
    """A parser that raises where argparse prints and exits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def add_switch(self, name: str, *, help: str) -> None:
        """Add an option that is given as ``NAME``, ``NAME true`` or ``NAME false``."""
        self.add_argument(name, type=truth, default=False, metavar="true|false", help=help)

    def parse_known_args(  # type: ignore[override]
        self, words: Sequence[str], namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, with ``NAME`` for ``NAME=true`` where no truth value follows."""
        switches = {name for a in self._actions if a.type is truth for name in a.option_strings}
        following = [*words, ""][1:]
        whole = [
            f"{word}=true" if word in switches and then.lower() not in TRUTH else word
            for word, then in zip(words, following, strict=True)
        ]
        return super().parse_known_args(whole, namespace)

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"{self.prog}: {message}")
