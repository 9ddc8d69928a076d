"""``python -m benchmarks fine-tuning`` and ``ablation``: our training step and the authors'."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace

import torch

from benchmarks.authors import AuthorsStep, Savings, authors_step
from benchmarks.flops import count_flops, forward_flops, matrix_rate, required_flops
from benchmarks.memory import MIB, peak_mib
from benchmarks.ours import our_step
from benchmarks.setting import Setting
from benchmarks.timing import OUT_OF_MEMORY, Call, Timing, timed
from zsrobust.utils.devices import full_precision

OURS, AUTHORS = "PMG-AFT, ours", "PMG-AFT, authors' implementation"
OURS_TECOA, AUTHORS_TECOA = "TeCoA, ours", "TeCoA, authors' implementation"
ATTACK, FASTEST = ", attack in bf16", ", attack in bf16, compiled"
"""Suffixes of our names for reduced precision, each faster than the one before."""


@dataclass(frozen=True)
class Step:
    """An implementation of a training step.

    Attributes:
        make: builds the step from a setting and whether it is PMG-AFT.
        pmg_aft: PMG-AFT if true, else TeCoA.
        setting: sizes and precision.
    """

    make: Callable[[Setting, bool], Call]
    pmg_aft: bool
    setting: Setting

    def made(self) -> Call:
        return self.make(self.setting, self.pmg_aft)


@dataclass(frozen=True)
class Measurement:
    """Results for a step; NaN for what was not measured.

    Attributes:
        timing: seconds per call.
        flops: per call, as ``count_flops`` returns them.
        peak_mib: peak memory of a call in MiB.
        loss: returned by the first call, from the same weights and random starts in every step.
    """

    timing: Timing
    flops: float = float("nan")
    peak_mib: float = float("nan")
    loss: object = None


def steps(setting: Setting) -> dict[str, Step]:
    """The steps by name. In reduced precision ours uses bf16 and the authors' fp16.

    The attack stays in fp32 where only the update is reduced, as with ``--precision bf16``.
    """
    reduced = setting.precision != "fp32"
    ours = replace(setting, precision="bf16" if reduced else "fp32")
    authors = replace(setting, precision="fp16" if reduced else "fp32")
    attack = replace(ours, attack_precision="bf16")
    fastest = replace(attack, compiled=True)
    found = {}
    for own, other, pmg_aft in ((OURS, AUTHORS, True), (OURS_TECOA, AUTHORS_TECOA, False)):
        found[own] = Step(our_step, pmg_aft, ours)
        if reduced:
            found[own + ATTACK] = Step(our_step, pmg_aft, attack)
            found[own + FASTEST] = Step(our_step, pmg_aft, fastest)
        found[other] = Step(authors_step, pmg_aft, authors)
    return found


def fine_tuning(
    settings: list[Setting], *, rounds: int, memory: bool = True
) -> Iterator[dict[str, object]]:
    """Yield a row per setting and step: seconds, images per second, peak memory, MFU."""
    for setting in settings:
        named = steps(setting)
        with full_precision():
            found = _one_by_one(named, rounds) if setting.device == "cuda" else None
        found = found or _in_turn(named, rounds, memory)
        one_pass = setting.batch * forward_flops(setting)
        rate = matrix_rate(setting.device, "fp32" if setting.precision == "fp32" else "bf16")
        for name, step in named.items():
            median = found[name].timing.median
            required = required_flops(setting, pmg_aft=step.pmg_aft)
            ours, authors = (OURS, AUTHORS) if step.pmg_aft else (OURS_TECOA, AUTHORS_TECOA)
            is_authors = name == authors
            peak, authors_peak = found[name].peak_mib, found[authors].peak_mib
            yield {
                "setting": f"{setting.model}, batch {setting.batch}, "
                f"{setting.prompts} prompts, {setting.device}",
                "implementation": name,
                "precision": step.setting.precision,
                "seconds": found[name].timing.as_dict(),
                "passes": found[name].flops / one_pass,
                "images_per_second": setting.batch / median,
                "peak_mib": peak,
                "mfu": required / rate / median,
                "time_vs_ours": median / found[ours].timing.median,
                "speedup_vs_authors": None if is_authors else found[authors].timing.median / median,
                "memory_vs_authors": None if is_authors else peak / authors_peak,
                "first_loss": found[name].loss,
            }


def _one_by_one(named: dict[str, Step], rounds: int) -> dict[str, Measurement]:
    """Each step alone in the GPU's memory."""
    device = torch.device("cuda")
    return {name: _alone(name, step, rounds, device) for name, step in named.items()}


def _alone(name: str, step: Step, rounds: int, device: torch.device) -> Measurement:
    # Compiled code is cached per function, which all steps share, up to a limit.
    torch.compiler.reset()
    _free_memory()
    call: Call | None = None
    try:
        call = step.made()
        loss = call()
        torch.cuda.reset_peak_memory_stats(device)
        timing = timed({name: call}, rounds=rounds, device=device)[name]
        peak = torch.cuda.max_memory_allocated(device) / MIB
        flops = float("nan")
        # A kernel without a FLOP formula must not discard the measurement.
        with contextlib.suppress(Exception):
            flops = count_flops(call) if timing.rounds else flops
    except torch.OutOfMemoryError:
        return Measurement(OUT_OF_MEMORY)
    finally:
        call = None
        _free_memory()
    return Measurement(timing, flops, peak, loss) if timing.rounds else Measurement(timing)


def _free_memory() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def _in_turn(named: dict[str, Step], rounds: int, memory: bool) -> dict[str, Measurement]:
    # Each peak is measured in a process of its own, before this one holds anything large.
    peaks = {
        name: peak_mib(step.make, step.setting, step.pmg_aft) if memory else float("nan")
        for name, step in named.items()
    }
    with full_precision():
        calls = {name: step.made() for name, step in named.items()}
        timings = timed(calls, rounds=rounds, device=torch.device("cpu"))
        return {
            name: Measurement(timings[name], count_flops(call), peaks[name])
            for name, call in calls.items()
        }


def ablation_steps(setting: Setting) -> dict[str, Call]:
    """PMG-AFT steps from the authors' to ours, each with one more optimization."""
    savings = Savings()
    found: dict[str, Call] = {"authors' implementation": AuthorsStep(setting, pmg_aft=True)}
    for field in fields(Savings):
        savings = replace(savings, **{field.name: True})
        step = AuthorsStep(setting, pmg_aft=True, savings=savings)
        found[f"+ {field.name.replace('_', ' ')}"] = step
    return {**found, "ours": our_step(setting, True)}


def ablation(setting: Setting, *, rounds: int) -> list[dict[str, object]]:
    """A row per step: FLOPs, seconds, and the predicted and measured speedup over the row before.

    The predicted speedup is the ratio of FLOPs.
    """
    calls = ablation_steps(setting)
    with full_precision():
        timings = timed(calls, rounds=rounds, device=torch.device(setting.device))
        flops = {name: count_flops(call) for name, call in calls.items()}
    rows: list[dict[str, object]] = []
    before = None
    for name, timing in timings.items():
        rows.append(
            {
                "implementation": name,
                "tflop": flops[name] / 1e12,
                "seconds": timing.as_dict(),
                "predicted_speedup": before and flops[before] / flops[name],
                "measured_speedup": before and timings[before].median / timing.median,
            }
        )
        before = name
    return rows
