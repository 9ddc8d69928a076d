"""The stages of a demonstration: which one is at work, and about how long all will take."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zsrobust.demo.plan import Plan
from zsrobust.utils.progress import format_seconds

# What a pass through the image encoder costs, in forward passes: one with gradients costs three.
FORWARD, STEP = 1, 3
AUTOATTACK_STEPS = 700
"""About what AutoAttack spends on a sample of a robust model; an undefended one falls at once."""


@dataclass(frozen=True)
class Stage:
    """A part of the work: what it is called, and its share in forward passes."""

    title: str
    work: float


def stages(plan: Plan, held_out: int, tested: int) -> list[Stage]:
    """The training runs, then the evaluation.

    Args:
        plan: what is to be done.
        held_out: images that each run is looked at on, twice.
        tested: images of all sets.
    """
    inner = STEP * plan.training_attack_steps
    a_step = {"ft_clean": STEP, "tecoa": inner + STEP, "pmg_aft": inner + 2 * STEP + FORWARD}
    looking = 2 * held_out * (FORWARD + 10 * STEP)
    training = [
        Stage(f"fine-tuning {name}", a_step[method] * plan.steps * plan.batch_size + looking)
        for name, method, _ in plan.runs
    ]
    a_sample = FORWARD + sum(STEP * attack_steps(attack) for attack in plan.attack)
    models = 1 + len(plan.runs)
    return [*training, Stage("evaluating", models * tested * a_sample)]


def attack_steps(attack: str) -> int:
    """About how many gradient steps an attack takes."""
    found = re.search(r"-(\d+)", attack)
    return int(found[1]) if found else AUTOATTACK_STEPS


class Clock:
    """Says at the start of each stage how far the whole is.

    Args:
        stages: all of them, in order.
        say: prints a line.
        now: seconds on a clock that only moves forward.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stages, self.say, self.now = stages, say, now
        self._started, self._begun = now(), 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first stage."""
        return self.now() - self._started

    def begin(self) -> None:
        """Announce the next stage, with the time left as the pace so far has it."""
        stage = self.stages[self._begun]
        done = sum(one.work for one in self.stages[: self._begun])
        left = sum(one.work for one in self.stages[self._begun :])
        self._begun += 1
        line = f"[{self._begun}/{len(self.stages)}] {stage.title}"
        if done > 0:
            still = format_seconds(self.elapsed / done * left)
            line += f" ({format_seconds(self.elapsed)} so far, about {still} left in all)"
        self.say(line)
