"""argparse as the commands use it: what is wrong is one sentence, and options are whole words."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from zsrobust.errors import RequestError


class WordParser(argparse.ArgumentParser):
    """A parser that raises where argparse prints and exits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Refuse the words.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"{self.prog}: {message}")
