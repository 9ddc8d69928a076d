"""Suites: one name after ``--data`` for several sets."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsrobust.data.published.sets import paper_sets, published_sets
from zsrobust.data.specification import Specification, parse_specification, split_options
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import as_argument


@dataclass(frozen=True)
class Suite:
    """A suite.

    Attributes:
        members: gives data specifications without a path.
        below: whether the suite is written with a path, below which its members lie.
    """

    members: Callable[[], tuple[str, ...]]
    below: bool = False


def _paper16() -> tuple[str, ...]:
    # Papers evaluate sets that have no test split whole.
    return tuple(known.kind + (",split=all" if known.own_split else "") for known in paper_sets())


GLYPH_SETS = (
    *("capital-letters", "small-letters", "numerals", "greek", "cyrillic", "roman-numerals"),
    *("fractions", "chess", "dice", "zodiac", "planets", "arrows", "crosses", "stars", "notes"),
    *("currencies", "symbols", "shapes", "coloured-shapes", "papers", "counts", "positions"),
    *("kinds", "unseen-fonts", "unseen-styles"),
)
"""The drawn sets of the suite ``glyphs``.

``colours`` and ``grounds`` are not among them: 8/255 cannot hide a plain colour, so that even an
undefended model loses little of its accuracy there.
"""

SUITES: dict[str, Suite] = {
    "paper16": Suite(_paper16, below=True),
    # Drawn sets, and handwriting, which is real.
    "glyphs": Suite(lambda: (*(f"glyph:{name}" for name in GLYPH_SETS), "digits")),
}

# What may follow a suite: it then holds for each of its sets.
_SHARED = ("resolution", "templates", "prompts")


def expand(specs: Sequence[str]) -> list[str]:
    """``specs`` with each suite replaced by the specifications of its sets.

    A set of a suite written with a path, such as ``paper16:ROOT``, lies in ``ROOT/<kind>``, or its
    own folder lies in ROOT itself.

    Raises:
        RequestError: if a suite is written wrongly, or naming every one of its sets that is not
            there.
    """
    return [member for spec in specs for member in _members(spec)]


def single(spec: str) -> str:
    """``spec``, which must name one set.

    Raises:
        RequestError: if it names a suite.
    """
    word = _word(spec)
    if word in SUITES:
        raise RequestError(f"data {spec!r} is a suite of sets: choose one of them")
    return spec


def with_default_prompts(spec: str, preset: str) -> str:
    """``spec`` with ``prompts=preset`` where it names published sets and gives no prompts."""
    published = (*published_sets(), *(word for word, suite in SUITES.items() if suite.below))
    if _word(spec) not in published or parse_specification(spec).prompts:
        return spec
    return f"{spec},prompts={preset}"


def _word(spec: str) -> str:
    return split_options(spec)[0].partition(":")[0]


def _members(spec: str) -> list[str]:
    word = _word(spec)
    if word not in SUITES:
        return [spec]
    suite, parsed = SUITES[word], parse_specification(spec)
    for key in ("split", "classes", "names", "name"):
        if getattr(parsed, key) is not None:
            raise RequestError(
                f"data {spec!r} gives {key}, which differs from set to set: a suite takes "
                f"{', '.join(_SHARED)}; write the sets one by one"
            )
    options = split_options(spec)[1]
    if suite.below:
        return [member + options for member in _located(parsed, suite)]
    if parsed.path:
        raise RequestError(f"data {spec!r} gives a path, which {word} has none of: write {word}")
    return [member + options for member in suite.members()]


def _located(parsed: Specification, suite: Suite) -> list[str]:
    root = parsed.path
    if root is None or not root.is_dir():
        raise RequestError(
            f"data {parsed.text!r} names no folder: write {parsed.kind}:ROOT, where ROOT holds "
            f"one folder a set, such as ROOT/{suite.members()[-1]}"
        )
    found, missing = [], []
    for member in suite.members():
        kind, comma, options = member.partition(",")
        folder = published_sets()[kind].below(root)
        if folder:
            found.append(f"{kind}:{folder}{comma}{options}")
        else:
            missing.append(f"{kind} ({_absent(kind, root)})")
    if missing:
        raise RequestError(
            f"data {parsed.text!r} lacks {len(missing)} of its {len(suite.members())} sets, "
            f"{', '.join(missing)}: zsrobust data prepare NAME --root "
            f"{shlex.quote(as_argument(root))} fetches one or says how"
        )
    return found


def _absent(kind: str, root: Path) -> str:
    """The first thing that a set lacks below ``root/<kind>``."""
    known = published_sets()[kind]
    folder = root / kind / known.places[0]
    parts = [folder / part for part in known.needs if not (folder / part).exists()]
    return str(parts[0] if folder.is_dir() or known.places[0] == "." else folder)
