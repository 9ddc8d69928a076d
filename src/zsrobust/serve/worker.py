"""One attack at a time, in a thread; those that wait are told how many are ahead of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Lock
from typing import Any, Generic, TypeVar

from zsrobust.utils.errors import RequestError

T = TypeVar("T")
R = TypeVar("R")


class Cancelled(Exception):
    """The result is no longer wanted."""


@dataclass(frozen=True)
class Waiting:
    """A job's place in the queue.

    Attributes:
        ahead: jobs that run or start before it, 1 or more.
    """

    ahead: int


class Job(Generic[T, R]):
    """Work that reports while it runs, and can be cancelled."""

    def __init__(self) -> None:
        self._cancelled = Event()
        self._reports: SimpleQueue[Waiting | T | None] = SimpleQueue()
        self._future: Future[R] | None = None

    def cancel(self) -> None:
        """Take it out of the queue, or end it at its next ``check``."""
        self._cancelled.set()
        self._reports.put(None)
        if self._future is not None:
            self._future.cancel()

    def check(self) -> None:
        """Raise ``Cancelled`` once it is."""
        if self._cancelled.is_set():
            raise Cancelled

    def report(self, what: T | Waiting) -> None:
        """Hand ``what`` to ``follow``."""
        self._reports.put(what)

    def follow(self, apart: float = 0) -> Iterator[Waiting | T]:
        """What is reported, ``apart`` seconds apart or more, until the job ends or is cancelled."""
        while (report := self._reports.get()) is not None and not self._cancelled.is_set():
            yield report
            self._cancelled.wait(apart)

    def result(self) -> R:
        """What the work returned.

        Raises:
            Cancelled: if it was cancelled.
            Exception: what the work raised.
        """
        self.check()
        assert self._future is not None, "not started"
        return self._future.result()

    def start(self, pool: ThreadPoolExecutor, work: Callable[[], R]) -> Future[R]:
        """Have ``work`` run in ``pool``."""

        def unless_cancelled() -> R:
            self.check()
            return work()

        self._future = pool.submit(unless_cancelled)
        self._future.add_done_callback(lambda _: self._reports.put(None))
        return self._future


class Worker:
    """Runs jobs one at a time, first come, first served.

    Args:
        waiting: jobs that may wait behind the one that runs.
    """

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="attack")
        self._lock = Lock()
        self._jobs: list[Job[Any, Any]] = []

    def submit(self, job: Job[T, R], work: Callable[[], R]) -> None:
        """Run ``work`` as ``job`` once those before it have ended.

        Raises:
            RequestError: if too many wait already.
        """
        with self._lock:
            ahead = len(self._jobs)
            if ahead > self._waiting:
                raise RequestError(f"{self._waiting} attacks are waiting: try again later")
            self._jobs.append(job)
            future = job.start(self._pool, work)
            if ahead:
                job.report(Waiting(ahead))
        future.add_done_callback(lambda _: self._leave(job))

    def close(self) -> None:
        """Cancel everything."""
        with self._lock:
            jobs = list(self._jobs)
        for job in reversed(jobs):
            job.cancel()
        self._pool.shutdown()

    def _leave(self, job: Job[T, R]) -> None:
        with self._lock:
            place = self._jobs.index(job)
            del self._jobs[place]
            for ahead, other in enumerate(self._jobs):
                if ahead >= max(place, 1):
                    other.report(Waiting(ahead))
