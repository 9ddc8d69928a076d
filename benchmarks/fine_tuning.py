"""``python -m benchmarks fine-tuning``: a step of ours beside the authors' way and TeCoA."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from benchmarks.alone import Measured, alone
from benchmarks.authors_way import authors_step
from benchmarks.floor import counted, forward_operations, matrix_rate, step_operations
from benchmarks.memory import peak_mib
from benchmarks.our_way import our_step
from benchmarks.setting import Setting
from benchmarks.side_by_side import Way, timed
from zsrobust.utils.devices import full_precision

OURS, THEIRS = "PMG-AFT, ours", "PMG-AFT, the authors' way"
OURS_TECOA, THEIRS_TECOA = "TeCoA, ours", "TeCoA, its authors' way"
ATTACK, FASTEST = ", attack in bf16", ", attack in bf16, compiled"
"""What is added to our names: steps of ours in reduced precision, each faster than that before."""


@dataclass(frozen=True)
class Step:
    """One way to make a step.

    Attributes:
        make: a setting, and whether the original guides, to a step.
        guided: PMG-AFT, else TeCoA.
        setting: its sizes, and its own precision.
    """

    make: Callable[[Setting, bool], Way]
    guided: bool
    setting: Setting

    def made(self) -> Way:
        return self.make(self.setting, self.guided)


def steps(setting: Setting) -> dict[str, Step]:
    """Ours has no fp16 and theirs no bf16: in reduced precision each has its own.

    The attack stays in fp32 where only the update is reduced, which is what ``precision`` means.
    """
    reduced = setting.precision != "fp32"
    ours = replace(setting, precision="bf16" if reduced else "fp32")
    theirs = replace(setting, precision="fp16" if reduced else "fp32")
    attack = replace(ours, attack_precision="bf16")
    fastest = replace(attack, compiled=True)
    found = {}
    for mine, other, guided in ((OURS, THEIRS, True), (OURS_TECOA, THEIRS_TECOA, False)):
        found[mine] = Step(our_step, guided, ours)
        if reduced:
            found[mine + ATTACK] = Step(our_step, guided, attack)
            found[mine + FASTEST] = Step(our_step, guided, fastest)
        found[other] = Step(authors_step, guided, theirs)
    return found


def fine_tuning(
    settings: list[Setting], *, rounds: int, memory: bool = True
) -> Iterator[dict[str, object]]:
    """A row a setting and way: seconds a step, images a second, peak memory, share of the floor."""
    for setting in settings:
        ways = steps(setting)
        with full_precision():
            found = _alone(ways, rounds) if setting.device == "cuda" else None
        found = found or _in_turn(ways, rounds, memory)
        one = setting.batch * forward_operations(setting)
        rate = matrix_rate(setting.device, "fp32" if setting.precision == "fp32" else "bf16")
        for name, step in ways.items():
            median = found[name].timing.median
            floor = step_operations(setting, guided=step.guided) / rate
            mine, theirs = (OURS, THEIRS) if step.guided else (OURS_TECOA, THEIRS_TECOA)
            is_theirs = name == theirs
            peak, their_peak = found[name].peak_mib, found[theirs].peak_mib
            yield {
                "setting": f"{setting.model}, batch {setting.batch}, "
                f"{setting.prompts} prompts, {setting.device}",
                "way": name,
                "precision": step.setting.precision,
                "seconds": found[name].timing.as_dict(),
                "passes": found[name].operations / one,
                "images_per_second": setting.batch / median,
                "peak_mib": peak,
                "share_of_floor": floor / median,
                "against_ours": median / found[mine].timing.median,
                "faster_than_theirs": None if is_theirs else found[theirs].timing.median / median,
                "memory_against_theirs": None if is_theirs else peak / their_peak,
                "first_loss": found[name].loss,
            }


def _alone(ways: dict[str, Step], rounds: int) -> dict[str, Measured]:
    device = torch.device("cuda")
    return {
        name: alone(name, step.made, rounds=rounds, device=device) for name, step in ways.items()
    }


def _in_turn(ways: dict[str, Step], rounds: int, memory: bool) -> dict[str, Measured]:
    # Before anything large is held here: each is measured in a process beside this one.
    peaks = {
        name: peak_mib(step.make, step.setting, step.guided) if memory else float("nan")
        for name, step in ways.items()
    }
    with full_precision():
        made = {name: step.made() for name, step in ways.items()}
        found = timed(made, rounds=rounds, device=torch.device("cpu"))
        return {
            name: Measured(found[name], counted(way), peaks[name]) for name, way in made.items()
        }
