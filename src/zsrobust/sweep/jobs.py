"""Jobs that one or several processes work off: each is a run folder, locked by one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zsrobust.config.run_folder import find_run, in_use
from zsrobust.config.schema import EvaluateConfig, FinetuneConfig
from zsrobust.models.card import CARD
from zsrobust.utils.errors import Diverged, InUse
from zsrobust.utils.files import write_text

POLL_SECONDS = 5.0
DIVERGED = "diverged.txt"


class Job(Protocol):
    """A run folder to be filled."""

    @property
    def folder(self) -> Path:
        """Where it goes."""
        ...

    def is_done(self) -> bool:
        """Whether nothing is left to do.

        Raises:
            RequestError: if the folder holds another run.
        """
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

    def run(self) -> None:
        """Fine-tune; a loss that is not finite is a result, since it would come again."""
        from zsrobust.training.finetune import finetune

        try:
            finetune(self.config)
        except Diverged as error:
            write_text(self.folder / DIVERGED, f"{error}\n")


@dataclass(frozen=True)
class Evaluation:
    """An evaluation in a folder of its own."""

    config: EvaluateConfig

    @property
    def folder(self) -> Path:
        """The run folder."""
        assert self.config.out is not None
        return Path(self.config.out)

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


def work(jobs: Callable[[], Sequence[Job]], say: Callable[[str], None]) -> None:
    """Do jobs in order until all are done, except those that another process works on.

    Any number of processes, on any machines that share the folders, may call this with the same
    jobs; each takes the next one that is not locked. At the end all wait for the last.

    Args:
        jobs: all jobs known by now; asked again after each, since results may ask for more.
        say: prints a line.

    Raises:
        RequestError: if a job's folder holds another run, or its request cannot be met.
        RunError: if a job fails.
        KeyboardInterrupt: on Ctrl-C; the same call resumes there.
    """
    waiting = False
    while True:
        known = jobs()
        left = [job for job in known if not job.is_done()]
        if not left:
            return
        for job in left:
            # Asked first, since a request is met, and images read, before a folder is claimed.
            if in_use(job.folder):
                continue
            try:
                say(f"{len(known) - len(left) + 1} of {len(known)}: {job.folder}")
                job.run()
            except InUse:
                continue
            waiting = False
            break
        else:
            if not waiting:
                say(f"waiting for other processes, which work on the last {len(left)} runs")
            waiting = True
            time.sleep(POLL_SECONDS)
