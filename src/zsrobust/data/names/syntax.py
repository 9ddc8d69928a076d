"""Class-name files that hold more than names: lists in code, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from zsrobust.data.names.codes import code_and_blank
from zsrobust.utils.errors import RequestError

# A list of JSON or of Python: {"0": "cat"}, or names = ['cat', 'dog'].
_IN_BRACKETS = re.compile(r"""(\w+\s*[:=]\s*)?[\[{(]\s*["'].*[\]})][,;]?""", re.DOTALL)
_QUOTED = re.compile(r"""(["']).*\1[,;]?""")


def refuse_syntax(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    """Refuse lines with signs that belong to no name, as they would be in every prompt.

    Args:
        path: of the class-name file.
        lines: its lines with their numbers.

    Raises:
        RequestError: if they are a list of JSON, YAML or Python, or each ends in a comma or is in
            quotes.
    """
    texts = [text.strip() for _, text in lines]
    if not texts:
        return
    ends = [text.endswith((",", ";")) for text in texts[:-1]]
    if _IN_BRACKETS.fullmatch("\n".join(texts)):
        what = "is a list in brackets"
    elif re.fullmatch(r"\w+:", texts[0]) or _all(text.startswith("- ") for text in texts):
        what = "is a list in YAML"
    elif _all(_QUOTED.fullmatch(text) is not None for text in texts):
        what = "has each name in quotes"
    elif ends and all(ends):
        what = f"has a {texts[0][-1]!r} behind each name"
    else:
        return
    raise RequestError(f"{path} {what}: write the names alone, one a line")


def refuse_codes(path: Path, rows: Sequence[tuple[int, str]]) -> None:
    """Refuse lines that are a code, a blank or comma, and a name, perhaps below a header.

    Raises:
        RequestError: if they are; ``rows`` have the number of a line and its name.
    """
    names = [name for _, name in rows]
    for header in (0, 1):
        if len(names) > header + 1 and (code := code_and_blank(names[header:])):
            below = f", below the header {names[0]!r}" if header else ""
            raise RequestError(
                f"{path} line {rows[header][0]} has the code {code!r} before a name, as all lines "
                f"have one{below}, but no tab: write code, tab and name on every line"
            )


def _all(found: Iterable[bool]) -> bool:
    found = list(found)
    return len(found) > 1 and all(found)
