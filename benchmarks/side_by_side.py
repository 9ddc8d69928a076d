"""Time several ways of doing one thing, in turn, so that other work falls on all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

Way = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds a call: median, fastest and slowest of the rounds."""

    median: float
    fastest: float
    slowest: float
    rounds: int

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def timed(ways: Mapping[str, Way], *, rounds: int, device: torch.device) -> dict[str, Timing]:
    """All ways in each round; on a GPU, which chooses its kernels then, each once before.

    On a CPU the first round is slower by little, and a median of three passes over it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values() if device.type == "cuda" else ():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            _wait(device)
            start = time.perf_counter()
            way()
            _wait(device)
            seconds[name].append(time.perf_counter() - start)
    return {
        name: Timing(statistics.median(found), min(found), max(found), len(found))
        for name, found in seconds.items()
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
