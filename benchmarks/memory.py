"""The most memory that one call takes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


def peak_mib(make: Callable[..., Callable[[], object]], *settings: Any) -> float:
    """MiB that ``make(*settings)`` and two calls of what it returns take at their highest.

    On a GPU what torch holds there, in this process; else resident memory of a process of its own,
    above what that had before, with its libraries loaded. (Linux; elsewhere nan on the CPU.)
    """
    if torch.cuda.is_available():
        # A process beside this one would take seconds to reach the GPU.
        return _gpu_peak_mib(make(*settings))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, make, settings))
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError:
        return float("nan")
    finally:
        process.join()


def _measure(sender: Any, make: Callable[..., Callable[[], object]], settings: Any) -> None:
    import zsrobust.training.finetune  # noqa: F401  (its libraries count for nobody)

    before = resident("VmRSS")
    way = make(*settings)
    way()
    _forget_peak()
    way()
    sender.send((resident("VmHWM") - before) / MIB)
    sender.close()


def _gpu_peak_mib(way: Callable[[], object]) -> float:
    way()
    torch.cuda.reset_peak_memory_stats()
    way()
    return torch.cuda.max_memory_allocated() / MIB


def resident(key: str, status: Path = Path("/proc/self/status")) -> float:
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) * 1024


def _forget_peak() -> None:
    peak = Path("/proc/self/clear_refs")
    if peak.is_file():
        peak.write_text("5")
