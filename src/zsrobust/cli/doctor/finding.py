"""What a check-up finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it belongs to, such as ``packages``.
        name: what was looked at.
        state: ``broken`` where something that is needed is not usable, ``note`` where an optional
            thing is absent or something should be known.
        words: what was found.
        remedy: what to do; empty where nothing need be done.
    """

    topic: str
    name: str
    state: State
    words: str
    remedy: str = ""
