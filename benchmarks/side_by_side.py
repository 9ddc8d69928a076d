"""Time several ways of doing one thing, in turn, so that other work falls on all alike."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

Way = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds a call: median, fastest and slowest of the rounds; of none where memory ran out."""

    median: float
    fastest: float
    slowest: float
    rounds: int

    def as_dict(self) -> dict[str, float] | str:
        return asdict(self) if self.rounds else "out of memory"


NOT_ENOUGH_MEMORY = Timing(float("nan"), float("nan"), float("nan"), 0)


def timed(ways: Mapping[str, Way], *, rounds: int, device: torch.device) -> dict[str, Timing]:
    """All ways in each round; on a GPU, which chooses its kernels then, each once before.

    On a CPU the first round is slower by little, and a median of three passes over it. A way for
    which the GPU has not the memory is left out of further rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    left = dict(ways)
    for round_ in range(-1 if device.type == "cuda" else 0, rounds):
        for name, way in list(left.items()):
            try:
                wait_for(device)
                start = time.perf_counter()
                way()
                wait_for(device)
            except torch.OutOfMemoryError:
                seconds[name].clear()
                del left[name]
                continue
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
    found = {
        name: Timing(statistics.median(each), min(each), max(each), len(each))
        if each
        else NOT_ENOUGH_MEMORY
        for name, each in seconds.items()
    }
    for name, timing in found.items():
        sys.stderr.write(f"{name}: {timing.as_dict()}\n")
    return found


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
