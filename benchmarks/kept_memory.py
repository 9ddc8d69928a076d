"""``python -m benchmarks kept-memory``: what it brings to keep memory that is freed, on a CPU.

Two processes do the same work in turn, one of which gives freed memory back to the system as glibc
does by default.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.busy import Glyphs
from benchmarks.memory import MIB, resident
from benchmarks.ours import our_step
from benchmarks.setting import Setting
from benchmarks.timing import Timing
from benchmarks.worker import answer, worker
from zsrobust.models.photo_lite import is_installed
from zsrobust.utils.allocator import TUNABLES, VARIABLES
from zsrobust.utils.devices import full_precision

GLYPHS = Glyphs("glyph-clip", 64, 10, "cpu")
SETTINGS: dict[str, Setting] = {
    "glyph-clip": GLYPHS,
    "glyph-vit": replace(GLYPHS, model="glyph-vit"),
    "photo-lite": replace(GLYPHS, model="photo-lite"),
    "ViT-B-32/random": Setting("ViT-B-32/random", 8, 10, "cpu"),
}
"""A step of PMG-AFT of each model."""
WORK = "from benchmarks.kept_memory import work; work()"
VARIANTS = {
    "kept": {},
    # Whoever sets one of these decides; this is the default, and leaves all else as it is.
    "returned": {TUNABLES: "glibc.malloc.arena_test=8"},
}


def kept_memory(rounds: int, models: list[str] | None = None) -> Iterator[dict[str, object]]:
    """Yield a row a model: seconds of a step and peak memory, each way.

    Args:
        rounds: of all measurements in turn.
        models: of ``SETTINGS``; None for all that are installed.
    """
    for model in models or [name for name in SETTINGS if name != "photo-lite" or is_installed()]:
        seconds: dict[str, list[float]] = defaultdict(list)
        with contextlib.ExitStack() as stack:
            workers = {
                name: stack.enter_context(
                    worker(WORK, model, variables=given, without=(TUNABLES, *VARIABLES))
                )
                for name, given in VARIANTS.items()
            }
            for _ in range(rounds):
                for name, ask in workers.items():
                    seconds[name].append(ask("step"))
            peaks = {name: ask("peak") for name, ask in workers.items()}
        found = {
            name: Timing(statistics.median(each), min(each), max(each), len(each))
            for name, each in seconds.items()
        }
        sys.stderr.write(f"{model}: {found}, {peaks}\n")
        yield {
            "step": f"PMG-AFT, {model}, {SETTINGS[model].batch} images",
            **{name: timing.as_dict() for name, timing in found.items()},
            "kept_vs_returned": found["returned"].median / found["kept"].median,
            **{f"peak_mib_{name}": peak for name, peak in peaks.items()},
        }


def work() -> None:
    """Answer ``step`` with its seconds, and ``peak`` with the most memory so far in MiB."""
    with full_precision():
        step = our_step(SETTINGS[sys.argv[1]], True)
        for _ in range(2):
            step()

        def found(line: str) -> float:
            if line == "peak":
                return resident("VmHWM") / MIB
            start = time.perf_counter()
            step()
            return time.perf_counter() - start

        answer(found)
