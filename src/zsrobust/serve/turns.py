"""One attack at a time: whoever comes next waits, and is told how long the line is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

from zsrobust.utils.errors import RequestError


class Turns:
    """A line of limited length in front of one worker.

    Args:
        waiting: how many may wait while one works.
    """

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self._line: list[object] = []
        self._moved = Condition()

    @contextmanager
    def join(self) -> Iterator[Turn]:
        """A place at the end of the line, given up when the block ends.

        Raises:
            RequestError: if the line is full.
        """
        turn = Turn(self)
        with self._moved:
            if len(self._line) > self.waiting:
                raise RequestError(
                    f"{self.waiting} attacks are waiting for their turn here already: try again "
                    "in a minute"
                )
            self._line.append(turn)
        try:
            yield turn
        finally:
            with self._moved:
                self._line.remove(turn)
                self._moved.notify_all()


class Turn:
    """A place in the line."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def before(self, seconds: float) -> int:
        """How many are before this one, after waiting at most ``seconds`` for a change."""
        with self._turns._moved:
            before = self._turns._line.index(self)
            if before and self._turns._moved.wait(seconds):
                before = self._turns._line.index(self)
            return before
