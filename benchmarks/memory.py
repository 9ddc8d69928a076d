"""Peak memory of a call."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MIB = 2**20


def peak_mib(make: Callable[..., Callable[[], object]], *arguments: Any) -> float:
    """Peak memory in MiB of ``make(*arguments)`` and two calls of the function that it returns.

    On a GPU this is the memory allocated by torch in this process. On a CPU it is the resident
    memory of a new process, minus what that process used after importing its libraries (Linux
    only; NaN elsewhere).
    """
    if torch.cuda.is_available():
        # A new process would take seconds to initialise the GPU.
        return _gpu_peak_mib(make(*arguments))
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(sender, make, arguments))
    process.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError:
        return float("nan")
    finally:
        process.join()


def _measure(sender: Any, make: Callable[..., Callable[[], object]], arguments: Any) -> None:
    import zsrobust.training.finetune  # noqa: F401  (imported before the first measurement)

    before = resident("VmRSS")
    call = make(*arguments)
    call()
    _reset_peak()
    call()
    sender.send((resident("VmHWM") - before) / MIB)
    sender.close()


def _gpu_peak_mib(call: Callable[[], object]) -> float:
    call()
    torch.cuda.reset_peak_memory_stats()
    call()
    return torch.cuda.max_memory_allocated() / MIB


def resident(key: str, status: Path = Path("/proc/self/status")) -> float:
    """Bytes of the line ``key`` in a ``/proc/PID/status`` file; NaN if there is no such file."""
    if not status.is_file():
        return float("nan")
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return float(line.split()[1]) * 1024


def _reset_peak() -> None:
    peak = Path("/proc/self/clear_refs")
    if peak.is_file():
        peak.write_text("5")
