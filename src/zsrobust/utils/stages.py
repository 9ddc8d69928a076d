"""How long several pieces of work still take, from those that are done."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zsrobust.utils.progress import format_seconds


@dataclass(frozen=True)
class Stage:
    """A piece of work.

    Attributes:
        title: what it is.
        kind: work of one kind has one speed.
        passes: through the model, about.
    """

    title: str
    kind: str
    passes: float


class Clock:
    """The speed of every kind of stage.

    Args:
        now: seconds on a clock that only moves forward.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._began = now, now()
        self._spent: defaultdict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return self._now() - self._began

    def note(self, stage: Stage, seconds: float) -> None:
        """A stage took so long."""
        for kind in (stage.kind, ""):
            spent, passes = self._spent[kind]
            self._spent[kind] = spent + seconds, passes + stage.passes

    def left(self, stages: Iterable[Stage]) -> float | None:
        """Seconds of these stages; None before one was noted."""
        if not self._spent:
            return None
        seconds = 0.0
        for stage in stages:
            spent, passes = self._spent[stage.kind if stage.kind in self._spent else ""]
            seconds += stage.passes * spent / max(passes, 1)
        return seconds

    def announce(self, stages: Iterable[Stage], at_once: int = 1) -> str:
        """The time so far and left, in brackets; empty at first.

        Args:
            stages: what is left.
            at_once: how many of them are done side by side.
        """
        left = self.left(stages)
        if left is None:
            return ""
        left /= at_once
        return f" ({format_seconds(self.elapsed)} so far, about {format_seconds(left)} left in all)"
