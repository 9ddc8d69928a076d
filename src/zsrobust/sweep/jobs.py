"""Jobs that one or several processes work off: each is a run folder, locked by one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from zsrobust.config.run_folder import find_run, in_use
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.models.card import CARD
from zsrobust.training.cost import passes_of_run
from zsrobust.utils.errors import Diverged, InUse
from zsrobust.utils.files import write_text
from zsrobust.utils.stages import Clock, Stage

POLL_SECONDS = 5.0
DIVERGED = "diverged.txt"


class Job(Protocol):
    """A run folder to be filled."""

    @property
    def folder(self) -> Path:
        """Where it goes."""
        ...

    @property
    def stage(self) -> Stage:
        """What it is, and about how much."""
        ...

    def is_done(self) -> bool:
        """Whether nothing is left to do.

        Raises:
            RequestError: if the folder holds another run.
        """
        ...

    def is_ready(self) -> bool:
        """Whether what it needs is there."""
        ...

    def run(self) -> None:
        """Do it, or what an earlier call left of it.

        Raises:
            InUse: if another process works on it.
        """
        ...


@dataclass(frozen=True)
class Training:
    """A fine-tuning of a fixed number of steps, in a folder of its own."""

    config: FinetuneConfig

    @property
    def folder(self) -> Path:
        """The run folder."""
        assert self.config.out is not None
        return Path(self.config.out)

    @property
    def stage(self) -> Stage:
        """Its steps and evaluations."""
        from zsrobust.data.suites import single

        images = count_images(single(self.config.data), "train")
        return Stage(self.folder.name, "fine-tuning", passes_of_run(self.config, images))

    @property
    def diverged(self) -> str:
        """Why it ended without a model; empty where it did not."""
        path = self.folder / DIVERGED
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    def is_done(self) -> bool:
        """Whether it took its last step, or cannot take it."""
        if not self.folder.is_dir():
            return False
        from zsrobust.training.checkpoint import checkpoints

        find_run(self.config)
        last = [path.name for path in checkpoints(self.folder / "checkpoints")][-1:]
        ended = (
            last == [f"step-{self.config.steps:08d}"] and (self.folder / "model" / CARD).is_file()
        )
        return ended or bool(self.diverged)

    def is_ready(self) -> bool:
        """True: it needs no other run."""
        return True

    def run(self) -> None:
        """Fine-tune; a loss that is not finite is a result, since it would come again."""
        from zsrobust.training.finetune import finetune

        try:
            finetune(self.config)
        except Diverged as error:
            write_text(self.folder / DIVERGED, f"{error}\n")


@dataclass(frozen=True)
class Evaluation:
    """An evaluation in a folder of its own.

    Attributes:
        config: what is evaluated.
        of: the run that leaves its model; None where the model is there.
    """

    config: EvaluateConfig
    of: Training | None = None

    @property
    def folder(self) -> Path:
        """The run folder."""
        assert self.config.out is not None
        return Path(self.config.out)

    @property
    def stage(self) -> Stage:
        """Its passes, as far as they are known before it."""
        from zsrobust.data.suites import expand
        from zsrobust.evaluation.cost import expected_cost

        sizes = [count_images(spec, "test") for spec in expand(self.config.data)]
        passes = expected_cost(self.config, sizes, undefended=self.of is None)
        kind = "evaluating an original" if self.of is None else "evaluating"
        return Stage(self.folder.name, kind, passes)

    def is_ready(self) -> bool:
        """Whether its model is there."""
        return self.of is None or (self.of.is_done() and not self.of.diverged)

    def is_done(self) -> bool:
        """Whether its results are there."""
        if not self.folder.is_dir():
            return False
        find_run(self.config)
        written = all((self.folder / n).is_file() for n in ("results.json", "outcomes.parquet"))
        return written and not (self.folder / "parts").exists()

    def run(self) -> None:
        """Evaluate."""
        from zsrobust.evaluation.evaluator import evaluate

        evaluate(self.config)


class Count:
    """Which jobs are done and which are left, of jobs that may ask for more.

    Args:
        jobs: all jobs known by now; asked again by ``left``, since results may ask for more.
        later: jobs that are expected to be asked for in the end, to count them.
    """

    def __init__(
        self, jobs: Callable[[], Sequence[Job]], later: Callable[[], Sequence[Job]] = lambda: []
    ) -> None:
        self._jobs, self._later = jobs, later
        self._clock = Clock()
        self._asked: set[Path] = set()
        self._coming: dict[Path, Job] = {}
        self.done = 0

    def left(self) -> list[Job]:
        """The jobs that are not done.

        Raises:
            RequestError: if a job's folder holds another run.
        """
        known = self._jobs()
        left = [job for job in known if not job.is_done()]
        # Jobs that are done may no longer be asked for.
        self._asked |= {job.folder for job in known}
        finished = self._asked - {job.folder for job in left}
        self.done = len(finished)
        coming = (*self._later(), *left) if left else ()
        self._coming = {job.folder: job for job in coming if job.folder not in finished}
        return left

    @property
    def total(self) -> int:
        """All jobs, those that are expected among them."""
        return self.done + len(self._coming)

    def note(self, job: Job, seconds: float) -> None:
        """A job took so long."""
        self._clock.note(job.stage, seconds)

    def time_left(self, at_once: int = 1) -> str:
        """Time so far and left, in brackets, with ``at_once`` jobs at a time; empty at first."""
        return self._clock.announce((job.stage for job in self._coming.values()), at_once)


def work(
    jobs: Callable[[], Sequence[Job]],
    say: Callable[[str], None],
    later: Callable[[], Sequence[Job]] = lambda: [],
) -> None:
    """Do jobs in order until all are done, except those that another process works on.

    Any number of processes, on any machines that share the folders, may call this with the same
    jobs; each takes the next one that is not locked. At the end all wait for the last.

    Args:
        jobs: all jobs known by now; asked again after each, since results may ask for more.
        say: prints a line.
        later: jobs that are expected to be asked for in the end, to count them.

    Raises:
        RequestError: if a job's folder holds another run, or its request cannot be met.
        RunError: if a job fails.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    waiting = False
    count = Count(jobs, later)
    while left := count.left():
        for job in left:
            # Asked first, since a request is met, and images read, before a folder is claimed.
            if not job.is_ready() or in_use(job.folder):
                continue
            try:
                say(f"{count.done + 1} of {count.total}: {job.folder}{count.time_left()}")
                began = time.monotonic()
                job.run()
            except InUse:
                continue
            count.note(job, time.monotonic() - began)
            waiting = False
            break
        else:
            if not waiting:
                say(f"waiting for other processes, which work on the last {len(left)} runs")
            waiting = True
            time.sleep(POLL_SECONDS)


@cache
def count_images(spec: str, role: Literal["train", "test"]) -> int:
    """Images of a data set."""
    from zsrobust.data.registry import opening

    return len(opening(spec, role)())
