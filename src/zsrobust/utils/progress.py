"""Progress of long work: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0
REDRAWS_A_SECOND = 4
LEAST_BAR, MOST_BAR = 5, 20
SHORT = 1.0
"""Seconds: shorter work leaves no line."""
# All but the end of a line and the tab.
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")

B = TypeVar("B", bound="Bar")


class Bar:
    """One piece of work: how far it is, how long it will take, and further figures.

    On a terminal it is one line, redrawn in place, with as many figures as fit. At the end the line
    goes, and one that says what was done stays.

    Args:
        title: what is being done.
        quiet: show nothing, as on every process but the first.

    Attributes:
        share: how much is done, in [0, 1].
        count: the same for people, such as ``3/10``.
        figures: what to show next to it, the most important first.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self.title = title
        self.console = Console(stderr=True, quiet=quiet)
        self.share, self.count = 0.0, ""
        self.figures: Sequence[str] = ()
        self._began = self._last_line = time.monotonic()
        self._live: Live | None = None

    def __enter__(self: B) -> B:
        if self.console.is_terminal and not self.console.quiet:
            self._live = Live(
                get_renderable=self._drawn,
                console=self.console,
                refresh_per_second=REDRAWS_A_SECOND,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
        elapsed = time.monotonic() - self._began
        if kind is None and elapsed >= SHORT:
            what = " ".join(filter(None, (self.title, self.count)))
            self.say("  ".join([f"{what} in {format_seconds(elapsed)}", *self.figures]))

    def left(self) -> float | None:
        """Seconds that it will still take; None where nothing is known yet."""
        raise NotImplementedError

    def line_if_due(self) -> None:
        """Where there is no terminal, write a line if the last one is ten seconds old."""
        now = time.monotonic()
        if self.console.is_terminal or now - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = now
        self.say("  ".join([f"{self.title} {self.count}", *self.figures, self._left()]).rstrip())

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def _left(self) -> str:
        left = self.left()
        return "" if left is None else f"{format_seconds(left)} left"

    def _drawn(self) -> RenderableType:
        """The line at the terminal's width."""
        width = self.console.width - 1
        shown = [part for part in (self.count, self._left()) if part]
        room = width - sum(len(part) + 1 for part in shown)
        title = printable(self.title)
        title = title if len(title) <= room else f"{title[: max(0, room - 1)]}…"
        room -= len(title)
        elapsed = f"{format_seconds(time.monotonic() - self._began)} so far"
        for figure in map(printable, (*self.figures, elapsed)):
            if len(figure) + 2 > room:
                break
            shown.append(f" {figure}")
            room -= len(figure) + 2
        line = Table.grid(padding=(0, 1, 0, 0))
        cells: list[RenderableType] = [Text(title, no_wrap=True)]
        if room > LEAST_BAR:
            cells.append(ProgressBar(1.0, self.share, width=min(MOST_BAR, room - 1)))
        line.add_row(*cells, Text(" ".join(shown), no_wrap=True))
        return line


class Steps(Bar):
    """Work of so many steps that take about equally long.

    Args:
        title: what is being done.
        total: number of steps.
        done: steps finished before, as in a resumed run.
        quiet: show nothing, as on every process but the first.

    Attributes:
        further: seconds of other work that is left, such as evaluations between the steps.
    """

    def __init__(self, title: str, total: int, *, done: int = 0, quiet: bool = False) -> None:
        super().__init__(title, quiet=quiet)
        self.total, self.done, self.further = total, done, 0.0
        self._reports = self._timed = 0
        self._seconds = 0.0
        self._at = time.monotonic()
        self._outside: float | None = None
        self._note()

    @contextmanager
    def outside(self) -> Iterator[None]:
        """What is done inside the block belongs to no step, and is part of ``further``."""
        self._outside = began = time.monotonic()
        try:
            yield
        finally:
            self._outside = None
            self._at += time.monotonic() - began

    @property
    def pace(self) -> float | None:
        """Seconds a step, without the first, which may compile or open files; None before two."""
        return self._seconds / self._timed if self._reports > 1 else None

    def left(self) -> float | None:
        """From the mean of the steps that were taken; it falls while the next one runs."""
        if self.pace is None:
            return None
        now, further = time.monotonic(), self.further
        running = now - self._at
        if self._outside is not None:
            further = max(0.0, further - (now - self._outside))
            running = self._outside - self._at
        return max(0.0, self.pace * (self.total - self.done) - min(self.pace, running)) + further

    def advance(self, steps: int = 1, figures: Sequence[str] | None = None) -> None:
        """Count ``steps`` more; ``figures`` is what to show next to them from now on."""
        now = time.monotonic()
        if steps > 0:
            if self._reports == 1:
                self._seconds, self._timed = 0.0, 0
            self._seconds += now - self._at
            self._timed += steps
            self._reports += 1
            self._at = now
        self.done += steps
        if figures is not None:
            self.figures = figures
        self._note()
        self.line_if_due()

    def _note(self) -> None:
        self.count = f"{self.done}/{self.total}"
        self.share = self.done / self.total if self.total else 1.0


def printable(text: str) -> str:
    """``text`` with its control characters spelled out: a file's name must not steer a terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def format_seconds(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
