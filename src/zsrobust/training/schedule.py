"""What changes from step to step: the learning rate, and how much of its radius the attack has."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of step ``step`` in 0 .. ``total_steps`` - 1.

    Warm-up rises from ``peak / warmup_steps`` to ``peak``; the cosine then falls from ``peak``
    towards 0, which it would meet at step ``total_steps``. A warm-up of 0 starts at the peak; one
    that outlasts the run is cut off by its end.
    """
    if step < warmup_steps:
        return peak * ((step + 1) / warmup_steps)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def attack_share(step: int, warmup_steps: int) -> float:
    """Of the attack's radius and step size, in step ``step`` from 0 on: above 0, at most 1."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
