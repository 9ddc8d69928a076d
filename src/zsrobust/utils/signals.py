"""SIGINT (Ctrl-C) and SIGTERM: training ends after the current step, all else at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from zsrobust.utils.errors import Stopped


@contextmanager
def sigterm_stops() -> Iterator[None]:
    """Inside the block, SIGTERM raises ``Stopped``, as Ctrl-C raises ``KeyboardInterrupt``."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(by=number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class Interrupt:
    """Inside the block, the first SIGINT or SIGTERM is only noted; the next one acts.

    Below torchrun all are only noted: it passes on what the terminal or the scheduler has sent to
    every process already, and itself kills those that take too long.

    Attributes:
        asked: the number of the first signal; 0 for none yet.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = 0
        self._launched = "TORCHELASTIC_RUN_ID" in os.environ
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        # Python delivers signals to the main thread alone, and only it may set handlers.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._ask) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            return
        self.asked = number
        message = "stopping after this step"
        if not self._launched:
            self._restore()
            message += "; once more to stop at once, unsaved"
        # Not through sys.stderr, which the interrupted code may be in the middle of writing to.
        os.write(2, f"\n{message}\n".encode())

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
