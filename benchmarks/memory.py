"""The most memory that one call takes, each way in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


def peak_mib(make: Callable[..., Callable[[], object]], *settings: Any) -> float:
    """MiB that ``make(*settings)`` and two calls of what it returns take at their highest.

    On a GPU what torch holds there; else resident memory above what the process had before, with
    its libraries loaded. (Linux; elsewhere nan on the CPU.)
    """
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

    before = _resident("VmRSS")
    on_gpu = torch.cuda.is_available()
    way = make(*settings)
    way()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    else:
        _forget_peak()
    way()
    if on_gpu:
        sender.send(torch.cuda.max_memory_allocated() / MIB)
    else:
        sender.send((_resident("VmHWM") - before) / MIB)
    sender.close()


def _resident(key: str) -> float:
    status = Path("/proc/self/status")
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) * 1024


def _forget_peak() -> None:
    peak = Path("/proc/self/clear_refs")
    if peak.is_file():
        peak.write_text("5")
