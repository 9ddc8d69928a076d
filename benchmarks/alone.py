"""Ways measured one after the other, each alone in the GPU's memory."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.floor import counted
from benchmarks.memory import MIB
from benchmarks.side_by_side import NOT_ENOUGH_MEMORY, Timing, Way, timed


@dataclass(frozen=True)
class Measured:
    """What was found of a way; nan for what was not.

    Attributes:
        timing: seconds a call.
        operations: of a call, as ``floor.counted`` has them.
        peak_mib: the most memory that torch held on the GPU in a call.
        loss: what the first call returned, from the same weights and random starts in every way.
    """

    timing: Timing
    operations: float = float("nan")
    peak_mib: float = float("nan")
    loss: object = None


def alone(name: str, make: Callable[[], Way], *, rounds: int, device: torch.device) -> Measured:
    """Time, memory and operations of what ``make`` returns, which is let go of afterwards."""
    # Compiled code is kept by its function, of which all ways share one, and only so often.
    torch.compiler.reset()
    _let_go()
    way: Way | None = None
    try:
        way = make()
        loss = way()
        torch.cuda.reset_peak_memory_stats(device)
        timing = timed({name: way}, rounds=rounds, device=device)[name]
        peak = torch.cuda.max_memory_allocated(device) / MIB
        operations = float("nan")
        # Beside the measurement: a kernel whose operations have no formula must not lose it.
        # Compiled code would be compiled once more to be counted.
        with contextlib.suppress(Exception), torch.compiler.set_stance("force_eager"):
            operations = counted(way) if timing.rounds else operations
    except torch.OutOfMemoryError:
        return Measured(NOT_ENOUGH_MEMORY)
    finally:
        way = None
        _let_go()
    return Measured(timing, operations, peak, loss) if timing.rounds else Measured(timing)


def _let_go() -> None:
    gc.collect()
    torch.cuda.empty_cache()
