"""How far fine-tuning moved the weights, and how that grew: Figure 2 of PMG-AFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from zsrobust.models.card import CARD, read_card
from zsrobust.reporting.figures.style import (
    FAINT,
    NARROW,
    SMALL,
    TEXT,
    Style,
    bare,
    new_figure,
    styles,
)
from zsrobust.reporting.names import method_title
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError

BESIDE_EACH_OTHER = 36
"""Letters of names that fit below their bars, each as long as the longest."""


@dataclass(frozen=True)
class Moved:
    """One fine-tuning run.

    Attributes:
        method: as in the results.
        steps, distances: where the distance was recorded, and what it was; a fraction of the
            original's norm.
        step, distance: of the selected model, the one that is evaluated.
    """

    method: str
    steps: list[int]
    distances: list[float]
    step: int
    distance: float


def read_moved(run: Path) -> Moved:
    """Read it from a run folder.

    Raises:
        RequestError: if the folder holds no finished run, or a file of it is damaged.
    """
    card = read_card(run / "model" / CARD)
    try:
        rows = read_metrics(run / "metrics.jsonl")
        # A training and an evaluation line of one step say the same.
        recorded = {int(row["step"]): float(row["relative_l2_distance"]) for row in rows}
        return Moved(
            method=card["method"],
            steps=sorted(recorded),
            distances=[recorded[step] for step in sorted(recorded)],
            step=int(card["step"]),
            distance=float(card["relative_l2_distance"]),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{run} is no finished fine-tuning run: {error!r}") from None


def distance_figure(
    runs: Sequence[Path], *, narrow: bool = False, titles: Mapping[str, str] | None = None
) -> Figure:
    """Left the distance of each method's selected model, right its growth over training.

    Where a method has several runs the bar is their mean, and each run a point and a line.

    Args:
        runs: run folders of ``finetune``.
        narrow: for a phone, the panels below each other.
        titles: what methods are called, by the name of a run folder; by default as in results.

    Raises:
        RequestError: if one is no finished run.
    """
    groups: dict[str, list[Moved]] = {}
    for run in runs:
        moved = read_moved(run)
        title = (titles or {}).get(run.name, method_title(moved.method))
        groups.setdefault(title, []).append(moved)
    longest = max(map(len, groups))
    many = len(groups) * longest > BESIDE_EACH_OTHER
    if narrow:
        figure = new_figure(6.6 if many else 5.6, NARROW)
        bars, lines = cast(Sequence[Axes], figure.subplots(2, 1))
    else:
        figure = new_figure(3.8 if many else 2.9)
        bars, lines = cast(Sequence[Axes], figure.subplots(1, 2, width_ratios=[2, 3]))
    for axes in (bars, lines):
        bare(axes)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
    looks = styles([found[0].method for found in groups.values()])
    for place, ((title, found), style) in enumerate(zip(groups.items(), looks, strict=True)):
        _bar(bars, place, found, style)
        for index, moved in enumerate(found):
            _line(lines, moved, style, title if index == 0 else "")
    bars.set_xticks(range(len(groups)), list(groups))
    if many:
        bars.tick_params(axis="x", rotation=40)
        for label in bars.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    bars.set_ylabel("relative L2 distance, %", fontsize=SMALL)
    bars.set_title("distance of the evaluated model", fontsize=TEXT)
    bars.margins(y=0.15)
    lines.set_xlabel("training step", fontsize=SMALL)
    lines.set_title("distance while training (ring: evaluated model)", fontsize=TEXT)
    lines.set_ylim(bottom=0)
    lines.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not many:
        # With many methods it would cover curves; their colours are those of the bars.
        lines.legend(frameon=False, fontsize=SMALL, loc="best")
    return figure


def _bar(axes: Axes, place: int, found: Sequence[Moved], style: Style) -> None:
    values = [100 * moved.distance for moved in found]
    mean = float(np.mean(values))
    axes.bar(place, mean, width=0.6, color=style.colour)
    if len(values) > 1:
        axes.plot([place] * len(values), values, "o", color="black", markersize=3)
    axes.annotate(
        f"{mean:.3g}",
        (place, max(values)),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=SMALL,
    )


def _line(axes: Axes, moved: Moved, style: Style, label: str) -> None:
    axes.plot(
        moved.steps,
        [100 * distance for distance in moved.distances],
        color=style.colour,
        marker=style.marker,
        markersize=3,
        linewidth=1.4,
        label=label or "_nolegend_",
    )
    axes.plot(
        moved.step,
        100 * moved.distance,
        "o",
        markersize=9,
        markerfacecolor="none",
        markeredgecolor=style.colour,
    )
