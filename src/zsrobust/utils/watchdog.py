"""A process that is killed or falls silent ends all the others, within a minute and by its name.

A process that waits in a collective for one that is gone would wait for as long as the process
group allows, and that is long, since the first process may have hours of work of its own. So each
process counts aloud in the store that the group was formed with. The first listens to all, the
others to the first.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count

from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]

from zsrobust.utils.errors import ProcessLost, RunError

# Seconds: between two beats; of silence after which a process counts as lost; and for others to
# fail of themselves, with their own sentence, after one has said that it failed.
BEAT = 2.0
SILENCE = 30.0
GRACE = 5.0
GO_ON = "; this run ends here, and the same command goes on from what is saved"

_RUNS = count()


@contextmanager
def watched(rank: int, world: int) -> Iterator[None]:
    """Inside the block, the loss of another process ends this one with a sentence that names it.

    Every process of the group must enter it, as often as the others. The process ends from a
    thread, with the exit code of the error below, or with that error where the communication breaks
    first.

    Raises:
        ProcessLost: if another process fell silent.
        RunError: if another process said that it failed.
    """
    if world == 1:
        yield
        return
    watch = Watch(rank, world, next(_RUNS))
    watch.start()
    try:
        yield
    except BaseException as error:
        if _is_of_communication(error):
            watch.explain(error)
        watch.leave(_ending(error))
        raise
    watch.leave("done")


class Watch:
    """Beats for one process, and listens for others.

    Args:
        rank, world: which process this is, of how many.
        run: which of the runs of this group it is.
    """

    def __init__(self, rank: int, world: int, run: int) -> None:
        self.rank, self.world = rank, world
        self.me = f"host {socket.gethostname()}, pid {os.getpid()}"
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        self.prefix = f"zsrobust/{restart}/{run}"
        self.heard = {other: (time.monotonic(), "") for other in self._others()}
        self.lost: RunError | None = None
        self._end = threading.Event()
        self._explaining = False
        self._thread = threading.Thread(target=self._run, name="zsrobust-watch", daemon=True)

    def start(self) -> None:
        """Begin; the group must be there."""
        # A connection of its own: the group's may be waiting in a collective.
        self.store = TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=SILENCE),
        )
        self._thread.start()

    def leave(self, word: str) -> None:
        """Stop, and tell the others how this process ended: done, failed or lost, and why."""
        self._end.set()
        self._thread.join()
        # The store may have gone with the first process.
        with suppress(RuntimeError):
            if word == "done" and self.rank == 0:
                self._see_off()
            self._say(word)

    def explain(self, error: BaseException) -> None:
        """Wait until it is known which process is gone.

        Raises:
            RunError: that names it, if one is.
        """
        self._explaining = True
        until = time.monotonic() + SILENCE + 2 * GRACE
        while not self.lost and time.monotonic() < until:
            time.sleep(BEAT / 10)
        if self.lost:
            self.leave(_ending(self.lost))
            raise self.lost from error

    def _run(self) -> None:
        try:
            for beat in count():
                self._say(str(beat))
                for other in self.heard:
                    self._listen(other)
                if self.lost or self._end.wait(BEAT):
                    break
        except RuntimeError:
            self.lost = ProcessLost(
                f"process 0 of {self.world} is gone, and the store with it{GO_ON}"
            )
        if self.lost:
            self._lose(self.lost)

    def _listen(self, other: int) -> None:
        key, now = self._key(other), time.monotonic()
        since, before = self.heard[other]
        word = self.store.get(key).decode() if self.store.check([key]) else ""
        if word != before:
            since, before = self.heard[other] = now, word
        state, _, where = before.rpartition("|")
        name = f"process {other} of {self.world} ({where or 'never heard of'})"
        if state.startswith(("failed", "lost")):
            if now - since > GRACE:
                kind = RunError if state.startswith("failed") else ProcessLost
                self.lost = kind(f"{name} {state.removesuffix(GO_ON)}{GO_ON}")
        elif state != "done" and now - since > SILENCE:
            self.lost = ProcessLost(
                f"{name} has not been heard of for {SILENCE:.0f} seconds{GO_ON}"
            )

    def _see_off(self) -> None:
        """Stay until all others have left: the store may live in this process."""
        while not self.lost and not all(
            word.startswith(("done", "failed", "lost")) for _, word in self.heard.values()
        ):
            self._say(f"waits since {time.monotonic()}")
            for other in self.heard:
                self._listen(other)
            time.sleep(BEAT / 40)

    def _lose(self, error: RunError) -> None:
        if self._explaining or self._end.is_set():
            return
        # The main thread may wait in a collective for ever: no exception would reach it.
        with suppress(RuntimeError):
            self._say(_ending(error))
        sys.stderr.write(f"zsrobust: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)

    def _say(self, word: str) -> None:
        self.store.set(self._key(self.rank), f"{word}|{self.me}")

    def _others(self) -> range:
        return range(1, self.world) if self.rank == 0 else range(1)

    def _key(self, rank: int) -> str:
        return f"{self.prefix}/{rank}"


def _ending(error: BaseException) -> str:
    word = "lost" if isinstance(error, ProcessLost) else "failed"
    return f"{word} with {type(error).__name__}: {error}"


def _is_of_communication(error: BaseException) -> bool:
    # Gloo's failures have no class of their own.
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )
