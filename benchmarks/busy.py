"""``python -m benchmarks busy``: training and evaluation beside processes that keep a core busy.

Several processes do the same work in turn. They differ in how OpenMP's threads wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.evaluation import DATA_SET, STEPS, embedded_subject
from benchmarks.ours import our_step
from benchmarks.setting import EPS, Setting
from benchmarks.timing import Call, Timing
from benchmarks.worker import answer, worker
from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.data.registry import open_set
from zsrobust.utils.devices import full_precision
from zsrobust.utils.openmp import VARIABLES

BATCH = 64
CALLS = {"TeCoA step": 3, "PGD-10 evaluation": 1}
"""Calls of each task in a round."""
WORK = "from benchmarks.busy import work; work()"
WORKERS = {
    "chosen by zsrobust": WORK,
    # OpenMP reads its variables when torch is loaded.
    "unset": f"import torch; {WORK}",
}
"""What each process runs."""
LOOP = """
import os
parent = os.getppid()
while os.getppid() == parent:
    pass
"""
"""What keeps a core busy, until its parent stops it or is killed itself."""


@dataclass(frozen=True)
class Glyphs(Setting):
    """A setting whose class names the embedded model knows."""

    def class_names(self) -> list[str]:
        return list(open_set(DATA_SET, "test").class_names[: self.prompts])


def busy(rounds: int, batch: int = BATCH) -> Iterator[dict[str, object]]:
    """Yield a row per task and wait policy: seconds per call, idle and beside busy processes.

    Args:
        rounds: of all measurements in turn.
        batch: images per call.
    """
    seconds: dict[tuple[str, str, int], list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(worker(code, batch, variables={}, without=VARIABLES))
            for name, code in WORKERS.items()
        }
        for _ in range(rounds):
            for number in (0, 1, 2):
                with busy_processes(number):
                    for task in CALLS:
                        for name, ask in workers.items():
                            found = ask(task)
                            seconds[task, name, number].append(found)
                            sys.stderr.write(f"{task}, {name}, {number} busy: {found:.3f} s\n")
        policies = {name: ask("policy") for name, ask in workers.items()}
    for task in CALLS:
        unset = statistics.median(seconds[task, "unset", 0])
        for name, policy in policies.items():
            idle, one, two = (_timing(seconds[task, name, number]) for number in (0, 1, 2))
            yield {
                "task": f"{task}, {batch} images",
                "wait_policy": policy,
                "idle": idle.as_dict(),
                "beside_one": one.as_dict(),
                "beside_two": two.as_dict(),
                "idle_vs_unset": idle.median / unset,
                "one_vs_idle": one.median / idle.median,
                "two_vs_idle": two.median / idle.median,
            }


def _timing(seconds: list[float]) -> Timing:
    return Timing(statistics.median(seconds), min(seconds), max(seconds), len(seconds))


@contextlib.contextmanager
def busy_processes(number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep ``number`` processes busy, and stop them at the end, on Ctrl-C too."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(number):
            command = [sys.executable, "-c", LOOP]
            started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def work() -> None:
    """Answer the name of a task with its seconds per call, ``policy`` with the variables."""
    policy = " ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ)
    with full_precision():
        calls = tasks(int(sys.argv[1]))
        for call in calls.values():
            call()
        answer(
            lambda line: (
                (policy or "unset") if line == "policy" else _seconds(calls[line], CALLS[line])
            )
        )


def tasks(batch: int) -> dict[str, Call]:
    """A step of TeCoA and an evaluation under PGD-10, each of ``batch`` images on glyph-clip."""
    step = our_step(Glyphs("glyph-clip", batch, 10, "cpu"), False)
    subject = embedded_subject(batch, "cpu")
    attack = make_attack(f"pgd-{STEPS}", ThreatModel(eps=EPS), seed=0)
    return {"TeCoA step": step, "PGD-10 evaluation": lambda: subject.robust(attack)}


def _seconds(call: Call, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number
