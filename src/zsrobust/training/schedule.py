"""The learning rate of every step."""

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
