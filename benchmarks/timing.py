"""Time several implementations of the same task in turn, so that other load affects all of them."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds per call: median, fastest and slowest round; NaN and 0 rounds if memory ran out."""

    median: float
    fastest: float
    slowest: float
    rounds: int

    def as_dict(self) -> dict[str, float] | str:
        return asdict(self) if self.rounds else "out of memory"


OUT_OF_MEMORY = Timing(float("nan"), float("nan"), float("nan"), 0)


def timed(calls: Mapping[str, Call], *, rounds: int, device: torch.device) -> dict[str, Timing]:
    """Time every call once per round.

    On a GPU, an additional first round is not counted, because kernels are chosen in it. On a CPU
    the first round is slightly slower, which the median of three rounds ignores. A call that runs
    out of GPU memory is left out of further rounds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    remaining = dict(calls)
    for round_ in range(-1 if device.type == "cuda" else 0, rounds):
        for name, call in list(remaining.items()):
            try:
                synchronize(device)
                start = time.perf_counter()
                call()
                synchronize(device)
            except torch.OutOfMemoryError:
                seconds[name].clear()
                del remaining[name]
                continue
            if round_ >= 0:
                seconds[name].append(time.perf_counter() - start)
    timings = {
        name: Timing(statistics.median(each), min(each), max(each), len(each))
        if each
        else OUT_OF_MEMORY
        for name, each in seconds.items()
    }
    for name, timing in timings.items():
        sys.stderr.write(f"{name}: {timing.as_dict()}\n")
    return timings


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
