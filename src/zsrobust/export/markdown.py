"""Text from elsewhere in Markdown: it stays text."""

from __future__ import annotations

import html
import re

# What can start a construct within a line; < and & are HTML's. A backslash makes it literal.
_ACTIVE = re.compile(r"([\\`*_\[\]#|~$@])")


def one_line(text: str) -> str:
    """``text`` without line breaks and other control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def escaped(text: str) -> str:
    """``text`` as words, whatever is in it."""
    return _ACTIVE.sub(r"\\\1", html.escape(one_line(text), quote=False))


def fenced(text: str, language: str) -> str:
    """``text`` as a block of code, whatever is in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
