"""Progress of long work: a bar on a terminal, a line every ten seconds elsewhere.

``rich.progress`` shows the bar; where there is no terminal it writes nothing until the end.
"""

from __future__ import annotations

import re
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

SECONDS_BETWEEN_LINES = 10.0
# All but the end of a line and the tab.
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f]")


class Steps:
    """Counts the steps of one piece of work and shows how far it is, and how long it will take.

    Args:
        title: what is being done.
        total: number of steps.
        done: steps finished before, as in a resumed run.
        quiet: show nothing, as on every process but the first.
    """

    def __init__(self, title: str, total: int, *, done: int = 0, quiet: bool = False) -> None:
        self.title, self.total, self.done, self.quiet = title, total, done, quiet
        self.console = Console(stderr=True, quiet=quiet)
        self._last_line = time.monotonic()
        self.begin()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._task = self._bar.add_task(title, total=total, completed=done, figures="")

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self) -> None:
        """Estimate from here on: what went before, such as a first evaluation, was no step."""
        self._at_start, self._started = self.done, time.monotonic()

    def advance(self, steps: int = 1, figures: str = "") -> None:
        """Count ``steps`` more; ``figures`` is what to show next to them."""
        self.done += steps
        self._bar.update(self._task, completed=self.done, figures=figures)
        now = time.monotonic()
        due = now - self._last_line >= SECONDS_BETWEEN_LINES or self.done >= self.total
        if self.console.is_terminal or not due:
            return
        self._last_line = now
        pace = (now - self._started) / max(1, self.done - self._at_start)
        left = format_seconds(pace * (self.total - self.done))
        self.say(f"{self.title} {self.done}/{self.total}  {figures}  {left} left")

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """``text`` with its control characters spelled out: a file's name must not steer a terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def format_seconds(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
