"""Which split of a set of the user's own is meant."""

from __future__ import annotations

from collections.abc import Collection

from zsrobust.data.specification import Specification
from zsrobust.utils.errors import RequestError

# What people call the images to test on, the likeliest first.
_MEANT = {"train": ("train",), "test": ("test", "val", "validation", "valid")}


def choose_split(asked: Specification, role: str, there: Collection[str]) -> str:
    """The split asked for, ``all`` included, or else the one that ``role`` means.

    Raises:
        RequestError: if the set does not have it.
    """
    if asked.split:
        if asked.split in (*there, "all"):
            return asked.split
        known = ", ".join([*there, "all"])
        raise RequestError(f"data {asked.text!r} has no split {asked.split!r}: it has {known}")
    for split in _MEANT[role]:
        if split in there:
            return split
    raise RequestError(
        f"data {asked.text!r} has no split called {_MEANT[role][0]}, but {', '.join(there)}: "
        f"choose with split=NAME"
    )
