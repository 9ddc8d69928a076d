"""Griffe extension: docstrings in the Markdown of the site."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Plain(griffe.Extension):
    """Removes Sphinx roles and keeps names together that one line describes."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite every docstring."""
        if obj.docstring:
            obj.docstring.value = plain(obj.docstring.value)


def plain(text: str) -> str:
    """``:class:`Row``` becomes ```Row```; in ``a, b: text`` the space becomes non-breaking."""
    text = re.sub(r":(?:class|data|func|meth):(?=`)", "", text)
    names = re.compile(r"^ {4}\w+(?:, \w+)+(?=: )", re.MULTILINE)
    return names.sub(lambda found: found[0].replace(", ", ",\N{NO-BREAK SPACE}"), text)
