"""What a command would do, and what it would take here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from zsrobust.utils.progress import format_seconds


@dataclass(frozen=True)
class DryRun:
    """What would be done.

    Attributes:
        lines: what would run, and what of it is done already.
        passes: through the image encoder, at most; a forward and a backward pass count one each.
        seconds: on this machine, expected from a few batches.
        most_seconds: the same if every sample withstood every attack.
        memory: the most used by these batches, in bytes.
        disk: what is written and stays, in bytes.
    """

    lines: Sequence[str]
    passes: float
    seconds: float
    most_seconds: float
    memory: float
    disk: float

    def report(self) -> list[str]:
        """All of it, for people."""
        least, most = format_seconds(self.seconds), format_seconds(self.most_seconds)
        limit = f", {most} if every sample stood" if self.most_seconds > 1.1 * self.seconds else ""
        return [
            *self.lines,
            f"passes: {self.passes:,.0f} at most",
            f"time here: about {least}{limit}",
            f"memory: {self.memory / 1e9:.2f} GB",
            f"disk: {max(self.disk / 1e6, 0.1):,.1f} MB",
        ]


def seconds_of(device: torch.device, do: Callable[[], object]) -> float:
    """How long ``do`` takes, until its last kernel has ended."""
    _wait(device)
    began = time.perf_counter()
    do()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """Bytes that this process has used at most: of the GPU where it is on one."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset)
    import resource

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(found if sys.platform == "darwin" else found * 1024)
