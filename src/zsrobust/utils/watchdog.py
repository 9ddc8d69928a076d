"""Heartbeats of distributed processes: when one dies, the others end within a minute and name it.

A process that waits in a collective for a dead one would wait until the timeout of the process
group, which is long, since the first process may have hours of work of its own. So each process
writes a heartbeat to the store that the group was formed with. The first process reads those of all
others, the others that of the first. ``torch.distributed.monitored_barrier`` finds a dead process
only where all others reach the barrier.
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

# Seconds: between two heartbeats; without one, after which a process counts as lost; and for the
# others to fail by themselves, with their own message, after one has reported a failure.
BEAT = 2.0
SILENCE = 30.0
GRACE = 5.0
RESUME = "; this run ends here; run the same command to resume from what is saved"

_RUNS = count()


@contextmanager
def watched(rank: int, world_size: int) -> Iterator[None]:
    """Inside the block, the loss of another process ends this one with a message that names it.

    Every process of the group must enter it, as often as the others. The process ends from a
    thread, with the exit code of the error below, or with that error where the communication breaks
    first.

    Raises:
        ProcessLost: if another process stopped sending heartbeats.
        RunError: if another process reported that it failed.
    """
    if world_size == 1:
        yield
        return
    watch = Watch(rank, world_size, next(_RUNS))
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
    """Sends the heartbeats of one process, and reads those of others.

    Args:
        rank, world_size: which process this is, of how many.
        run: which of the runs of this group it is.
    """

    def __init__(self, rank: int, world_size: int, run: int) -> None:
        self.rank, self.world_size = rank, world_size
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

    def leave(self, status: str) -> None:
        """Stop, and publish how this process ended: done, failed or lost, and why."""
        self._end.set()
        self._thread.join()
        # The store may have gone with the first process.
        with suppress(RuntimeError):
            if status == "done" and self.rank == 0:
                self._wait_for_others()
            self._publish(status)

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
                self._publish(str(beat))
                for other in self.heard:
                    self._listen(other)
                if self.lost or self._end.wait(BEAT):
                    break
        except RuntimeError:
            self.lost = ProcessLost(
                f"process 0 of {self.world_size} is gone, and the store with it{RESUME}"
            )
        if self.lost:
            self._lose(self.lost)

    def _listen(self, other: int) -> None:
        key, now = self._key(other), time.monotonic()
        since, before = self.heard[other]
        status = self.store.get(key).decode() if self.store.check([key]) else ""
        if status != before:
            since, before = self.heard[other] = now, status
        state, _, where = before.rpartition("|")
        name = f"process {other} of {self.world_size} ({where or 'never heard of'})"
        if state.startswith(("failed", "lost")):
            if now - since > GRACE:
                kind = RunError if state.startswith("failed") else ProcessLost
                self.lost = kind(f"{name} {state.removesuffix(RESUME)}{RESUME}")
        elif state != "done" and now - since > SILENCE:
            self.lost = ProcessLost(
                f"{name} has not been heard of for {SILENCE:.0f} seconds{RESUME}"
            )

    def _wait_for_others(self) -> None:
        """Stay until all others have left: the store may live in this process."""
        while not self.lost and not all(
            status.startswith(("done", "failed", "lost")) for _, status in self.heard.values()
        ):
            self._publish(f"waits since {time.monotonic()}")
            for other in self.heard:
                self._listen(other)
            time.sleep(BEAT / 40)

    def _lose(self, error: RunError) -> None:
        if self._explaining or self._end.is_set():
            return
        # The main thread may wait in a collective for ever: no exception would reach it.
        with suppress(RuntimeError):
            self._publish(_ending(error))
        sys.stderr.write(f"zsrobust: {error}\n")
        sys.stderr.flush()
        os._exit(error.exit_code)

    def _publish(self, status: str) -> None:
        self.store.set(self._key(self.rank), f"{status}|{self.me}")

    def _others(self) -> range:
        return range(1, self.world_size) if self.rank == 0 else range(1)

    def _key(self, rank: int) -> str:
        return f"{self.prefix}/{rank}"


def _ending(error: BaseException) -> str:
    status = "lost" if isinstance(error, ProcessLost) else "failed"
    return f"{status} with {type(error).__name__}: {error}"


def _is_of_communication(error: BaseException) -> bool:
    # Gloo's failures have no class of their own.
    return isinstance(error, DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    )
