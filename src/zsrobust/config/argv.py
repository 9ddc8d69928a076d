"""Options as command-line arguments, and arguments as options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zsrobust.utils.units import Eps


def as_arguments(key: str, value: Any) -> list[str]:
    """The options that set ``key`` to ``value``, those of a dictionary one by one."""
    if isinstance(value, dict):
        return [
            argument
            for part, inner in value.items()
            for argument in as_arguments(f"{key}.{part}" if key else part, inner)
        ]
    plain = isinstance(value, str | Path | Eps)
    return [f"--{key}={value if plain else json.dumps(value)}"]


def options_in(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each option and its value, in ``--key=value`` or ``--key value``.

    An option without a value comes with None, and a value without an option with an empty one.
    """
    option = ""
    for argument in argv:
        if argument.startswith("--"):
            if option:
                yield option, None
            name, equals, value = argument.partition("=")
            option = "" if equals else name
            if equals:
                yield name, value
        else:
            yield option, argument
            option = ""
    if option:
        yield option, None
