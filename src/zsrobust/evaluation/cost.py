"""What an evaluation costs, before anything of it is known: in passes, and on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.attacks import plain_attacks
from zsrobust.evaluation.checks.black_box import probe_passes
from zsrobust.evaluation.forecast import (
    CHECKS,
    RIGHT,
    STAND_FIRST,
    UNDEFENDED_STAND,
    Forecast,
    Work,
)
from zsrobust.evaluation.two_phase.plan import pilot_size

if TYPE_CHECKING:
    from zsrobust.evaluation.cell import Cell


def expected_cost(config: EvaluateConfig, sizes: Sequence[int], *, undefended: bool) -> float:
    """About how many passes the evaluation of one model takes, by their cost.

    Args:
        config: the evaluation.
        sizes: images of each data set, of which ``samples`` are drawn.
        undefended: whether hardly a sample is expected to stand.
    """
    forecast = Forecast()
    # At one second a pass, seconds are passes.
    forecast.time("", CHECKS, 1.0, 1.0)
    attacks = plain_attacks(config)
    for number, size in enumerate(sizes):
        n = min(size, config.samples or size)
        for attack in (None, *attacks):
            parts = () if attack is None else tuple(getattr(attack, "parts", (attack,)))
            work = Work("", str(number), parts, undefended)
            later = 1.0
            if config.half_width is not None:
                # In two phases these meet a pilot of the samples that stand, and few more.
                standing = n * RIGHT * (UNDEFENDED_STAND if undefended else STAND_FIRST)
                later = min(1.0, pilot_size(ceil(standing)) / standing)
            work.add(0, [n, *[later * n] * (len(work.total) - 1)])
            forecast.works.append(work)
        forecast.checks[number] = "", probe_passes(n)
    return forecast.left() or 0.0


BYTES_OF_AN_OUTCOME = 60
"""Of a sample under one attack in ``outcomes.parquet``, about."""


def bytes_of(cells: Sequence[Cell], config: EvaluateConfig) -> int:
    """About how many bytes the results of ``cells`` take, with the images that are to be saved."""
    outcomes = sum(len(cell.images) * len(cell.attacks) for cell in cells)
    # Clean and adversarial, as PNG, which can hardly make adversarial noise smaller.
    pixels = sum(
        2 * 3 * cell.measurement.resolution**2 * min(config.save_adversarial, len(cell.images))
        for cell in cells
        for _ in cell.attacks
    )
    return outcomes * BYTES_OF_AN_OUTCOME + pixels
