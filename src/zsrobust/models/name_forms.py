"""Names made of names: ``WORD(MODEL, KEY=VALUE)``, such as ``ttc(glyph-clip, tau=0.1)``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zsrobust.utils.errors import RequestError

TRUTH = {"true": True, "True": True, "false": False, "False": False}


@dataclass(frozen=True)
class Form:
    """A name taken apart.

    Attributes:
        name: all of it, as written.
        word: the text before the parentheses.
        arguments: what is given by place, one or more.
        options: what is given by key, as text.
    """

    name: str
    word: str
    arguments: tuple[str, ...]
    options: Mapping[str, str]

    @property
    def model(self) -> str:
        """The one model it is about.

        Raises:
            RequestError: if something else is given by place as well.
        """
        if len(self.arguments) > 1:
            raise RequestError(
                f"model {self.name!r} has {len(self.arguments)} arguments: {self.word} takes one "
                "model, and the rest as KEY=VALUE"
            )
        return self.arguments[0]

    def read_options(self, readers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
        """The options by key, each read by the reader of its key.

        Raises:
            RequestError: if there is a key without a reader, or a reader refuses its text.
        """
        values = {}
        for key, text in self.options.items():
            if key not in readers:
                raise RequestError(
                    f"model {self.name!r}: {self.word} has no option {key!r}: choose from "
                    f"{', '.join(readers)}"
                )
            try:
                values[key] = TRUTH[text] if readers[key] is bool else readers[key](text)
            except (KeyError, ValueError):
                kinds: dict[object, str] = {int: "a whole number", bool: "true or false"}
                kind = kinds.get(readers[key], "a number")
                raise RequestError(
                    f"model {self.name!r}: {key} is {text!r}: must be {kind}"
                ) from None
        return values


def read_form(name: str) -> Form | None:
    """``name`` taken apart, or None if it is not of the shape ``WORD(...)``.

    WORD may be ``FILE.py:NAME``.

    Commas inside inner parentheses belong to the inner name.

    Raises:
        RequestError: if nothing is given by place, a value without a key follows one with a key,
            or a key is given twice.
    """
    found = re.fullmatch(r"(?P<word>\w+|[^()]+\.py:\w+)\((?P<inside>.*)\)", name)
    if not found:
        return None
    arguments: list[str] = []
    options: dict[str, str] = {}
    for part in split_arguments(found["inside"]):
        key, equals, value = part.partition("=")
        if not (equals and re.fullmatch(r"\s*\w+\s*", key)):
            if options:
                raise RequestError(f"model {name!r}: {part.strip()!r} must be written KEY=VALUE")
            arguments.append(part.strip())
        elif key.strip() in options:
            raise RequestError(f"model {name!r}: {key.strip()} is given twice")
        else:
            options[key.strip()] = value.strip()
    if not arguments or not all(arguments):
        raise RequestError(f"model {name!r} names no model: write {found['word']}(MODEL)")
    return Form(name, found["word"], tuple(arguments), options)


def split_arguments(inside: str, separator: str = ",") -> list[str]:
    """The text between separators that lie in no parentheses."""
    parts, depth = [""], 0
    for letter in inside:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
