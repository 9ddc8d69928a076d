"""Class names that are codes: a text tower knows nothing of them, and accuracy means nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zsrobust.data.names import imagenet_names, tiny_imagenet_names
from zsrobust.utils.errors import RequestError

SHOWN = 3

_WNID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
# What no class is called, whatever the others are, cleaned or not.
_CODE = re.compile(
    r"""
    n\d{8}                                                      # a WordNet id
    | (cls|class|label|lbl|id|idx|index|category|cluster|target|folder)[ _-]?\d+
    | m[ ._]0\w{2,}                                             # Freebase, as in Open Images
    | (?=.*[a-f])(?=.*\d.*\d)[0-9a-f]{8,}                       # a hash
    | [0-9a-f]{8}([ _-][0-9a-f]{4}){3}[ _-][0-9a-f]{12}         # a UUID
    | _*macosx | \.?ipynb[ _-]checkpoints | _*pycache_* | @eadir | lost\+found | \$recycle\.bin
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_BEFORE = re.compile(r"(n\d{8}|q?\d{1,18})([\s.,;:)_-]+)(.*\w.*)", re.IGNORECASE | re.ASCII)
_BEHIND = re.compile(r"(.*\D)(\d{1,18})", re.ASCII)
_LETTER = re.compile(r"([a-z])(\d{1,18})", re.IGNORECASE | re.ASCII)


def code_notes(names: Sequence[str], what: str, *, chosen: bool) -> tuple[str, ...]:
    """A sentence where class names are, or hold, codes that a model does not know.

    Numbers within names, such as ``boeing 737`` or ``2012 tesla``, are no codes unless they count
    the classes.

    Args:
        names: C class names.
        what: whose they are, for messages.
        chosen: whether they come from a class-name file, where numbers are meant, as of digits.

    Raises:
        RequestError: if all are numbers, unless chosen, or all are WordNet ids.
    """
    if names and all(map(_WNID.fullmatch, names)):
        raise RequestError(
            f"the class names of {what} are WordNet ids ({_some(names)}), which a model does not "
            f"know: {_where_known(names)}give lines of id, tab and name with names=FILE"
        )
    if names and not chosen and all(map(_NUMBER.fullmatch, names)):
        raise RequestError(
            f"the class names of {what} are numbers ({_some(names)}): write words for them, or "
            "give names with names=FILE, that of the smallest number first (digits are names there)"
        )
    return _notes(names, what, chosen, " with names=FILE")


def typed_code_notes(names: Sequence[str]) -> tuple[str, ...]:
    """The same of names that were typed in, where no file is read and nothing is refused."""
    return _notes(names, "this list", chosen=True, where="")


def _notes(names: Sequence[str], what: str, chosen: bool, where: str) -> tuple[str, ...]:
    codes = [n for n in names if _CODE.fullmatch(n) or (not chosen and _NUMBER.fullmatch(n))]
    if codes:
        return (
            f"{len(codes)} of the {len(names)} class names of {what} are codes, which a model does "
            f"not know ({_some(codes)}): give names{where}, or remove what is no class",
        )
    if _series(names):
        return (
            f"the class names of {what} are a letter and a number each ({_some(names)}), which a "
            f"model does not know: give names{where}",
        )
    if code := code_before_names(names, blank=r"[\s.,;:)_-]+"):
        return (
            f"a code comes before every class name of {what}, as {code!r} of {names[0]!r}, and "
            f"so in every prompt: give the names alone{where}",
        )
    if _count([_BEHIND.fullmatch(name) for name in names], number=2, rest=1):
        return (
            f"a number follows every class name of {what}, as in {names[0]!r}, and so in "
            f"every prompt: give the names alone{where}",
        )
    return ()


def code_before_names(names: Sequence[str], blank: str = r"[\s,;:]+") -> str:
    """The first code, if one and a ``blank`` stand before every name; empty if not."""
    found = [_BEFORE.fullmatch(name) for name in names]
    first = found[0] if found else None
    if first and all(one and re.fullmatch(blank, one[2]) for one in found):
        ids = all(one and not one[1].isdigit() for one in found)
        if ids or _count(found, number=1, rest=3):
            return first[1]
    return ""


def _count(found: Sequence[re.Match[str] | None], number: int, rest: int) -> bool:
    """Whether the numbers count the classes, and the text next to them differs.

    They count where they run from 0 or 1 on, or have zeros before them.
    """
    whole = [one for one in found if one]
    numbers = [one[number] for one in whole]
    rests = {one[rest].strip().lower() for one in whole}
    if len(whole) < max(2, len(found)) or len(rests) < len(whole):
        return False
    return _runs(numbers) or any(re.fullmatch(r"0\d+", word) for word in numbers)


def _series(names: Sequence[str]) -> bool:
    """Whether all are one letter and a number that counts them, or ids of Wikidata."""
    found = [one for one in map(_LETTER.fullmatch, names) if one]
    if len(found) < max(2, len(names)) or len({one[1].lower() for one in found}) > 1:
        return False
    wikidata = found[0][1].lower() == "q" and any(len(one[2]) > 1 for one in found)
    return wikidata or _runs([one[2] for one in found])


def _runs(numbers: Sequence[str]) -> bool:
    """Whether they are all those from 0, or from 1, on."""
    values = sorted(map(int, numbers))
    return values in ([*range(len(values))], [*range(1, len(values) + 1)])


def _where_known(wnids: Sequence[str]) -> str:
    """Which kinds of data know the names of all these ids."""
    if set(wnids) <= set(tiny_imagenet_names()):
        return "if this is that set, read it as tiny-imagenet:FOLDER; else "
    if set(wnids) <= set(imagenet_names()):
        return "if this is that set, read it as imagenet:FOLDER; else "
    return ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
