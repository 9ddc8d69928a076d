"""One attack in a thread of its own, whose progress is read, and which ends when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import sleep

from zsrobust.serve.comparison import Comparison, OnStep
from zsrobust.serve.turns import Turns

SECONDS = 0.1
"""Between two words of progress."""


@dataclass(frozen=True)
class Waiting:
    """Others come first."""

    before: int


@dataclass(frozen=True)
class Step:
    """How far the attack on one of the models is.

    Attributes:
        model: under attack.
        taken: steps.
        loss: so far, which the attack makes larger.
    """

    model: str
    taken: int
    loss: float


class Cancelled(Exception):
    """The visitor no longer wants the result."""


def run(
    work: Callable[[OnStep], Comparison], turns: Turns, cancelled: Event
) -> Iterator[Waiting | Step | Comparison]:
    """Wait for a turn, do the work, and tell of it about ten times a second; the result is last.

    Closing the iterator cancels the work.

    Args:
        work: called with what it tells of each step.
        turns: the line to wait in.
        cancelled: ends it, within a step, when set.

    Raises:
        Cancelled: if ``cancelled`` was set before the end.
        RequestError: if the line is full, or ``work`` raises it; so with every other error.
    """
    with turns.join() as turn:
        before = -1
        while (now := turn.before(SECONDS)) > 0:
            if cancelled.is_set():
                raise Cancelled
            if now != before:
                before = now
                yield Waiting(before)
        yield from _in_thread(work, cancelled)


def _in_thread(
    work: Callable[[OnStep], Comparison], cancelled: Event
) -> Iterator[Step | Comparison]:
    told: SimpleQueue[Step | Comparison | Exception] = SimpleQueue()

    def on_step(model: str, taken: int, loss: float) -> None:
        if cancelled.is_set():
            raise Cancelled
        told.put(Step(model, taken, loss))

    def do() -> None:
        try:
            told.put(work(on_step))
        except Exception as error:
            told.put(error)

    thread = Thread(target=do, daemon=True)
    thread.start()
    try:
        while True:
            latest = _latest(told)
            if isinstance(latest, Exception):
                raise latest
            yield latest
            if isinstance(latest, Comparison):
                return
            # Steps may come by the thousand; a page shows a few a second.
            sleep(SECONDS)
    finally:
        cancelled.set()
        # The turn is the next one's only once this work has ended.
        thread.join()


def _latest(told: SimpleQueue[Step | Comparison | Exception]) -> Step | Comparison | Exception:
    """What was told last, waited for; an end is always last."""
    latest = told.get()
    with suppress(Empty):
        while True:
            latest = told.get_nowait()
    return latest
