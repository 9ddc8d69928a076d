"""The plane of clean against robust accuracy: what each method pays for its robustness."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsrobust.evaluation.statistics import Interval
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
from zsrobust.utils.errors import RequestError

PLANE = 4.0
"""Inches of height; more where the legend needs it."""
LINE = 0.2
"""Inches of a line of the legend."""
LETTERS = 28
"""Letters after which a label may break into a further line."""


@dataclass(frozen=True)
class Point:
    """One method or model in the plane; accuracies in [0, 1].

    Attributes:
        label: how it is called in the legend.
        clean, robust: its accuracies; means where there are ``seeds``.
        ci_clean, ci_robust: their 95 % intervals; (nan, nan) where there is none.
        seeds: (clean, robust) of each seed, where there are several.
        method: as in results, such as ``pmg_aft[paper]``: gives the style that it has in the other
            figures; by default the label's.
    """

    label: str
    clean: float
    robust: float
    ci_clean: Interval
    ci_robust: Interval
    seeds: tuple[tuple[float, float], ...] = ()
    method: str = ""


def tradeoff_figure(points: Sequence[Point], *, condition: str, narrow: bool = False) -> Figure:
    """A marker a point with its 95 % intervals as a cross, its seeds as faint dots.

    Dashed lines go through every ``original``: left of the upright one clean accuracy was paid,
    above the level one robustness was gained. Labels stand in a legend in the order of robust
    accuracy, so that they never cover each other.

    Args:
        points: what to show, one or more.
        condition: the attack, such as ``pgd-10 1/255, average of 5 unseen``.
        narrow: for a phone, the legend below the plane.

    Raises:
        RequestError: if there is no point.
    """
    if not points:
        raise RequestError("there is no point to draw: name one model or more")
    labels = [textwrap.fill(point.label, LETTERS) for point in points]
    lines = sum(label.count("\n") + 1 for label in labels)
    figure = (
        new_figure(PLANE - 0.4 + LINE * lines, NARROW)
        if narrow
        else new_figure(max(PLANE, 0.6 + LINE * lines))
    )
    axes = figure.add_subplot()
    bare(axes)
    axes.grid(color=FAINT, linewidth=0.6)
    given = styles([point.method or point.label for point in points])
    shown = zip(points, given, labels, strict=True)
    for point, style, label in sorted(shown, key=lambda one: -one[0].robust):
        _cross(axes, point, style, label)
    axes.set_title(f"under {condition}", fontsize=TEXT, wrap=narrow)
    axes.set_xlabel("clean accuracy, %", fontsize=SMALL)
    axes.set_ylabel("robust accuracy, %", fontsize=SMALL)
    _within_accuracies(axes)
    where: Literal["outside lower left", "outside right upper"] = (
        "outside lower left" if narrow else "outside right upper"
    )
    figure.legend(loc=where, frameon=False, fontsize=TEXT)
    return figure


def _cross(axes: Axes, point: Point, style: Style, label: str) -> None:
    x, y = 100 * point.clean, 100 * point.robust
    if point.method == "original":
        for line, place in ((axes.axvline, x), (axes.axhline, y)):
            line(place, color=style.colour, linestyle="--", linewidth=0.8, alpha=0.6, zorder=1)
    for clean, robust in point.seeds:
        axes.plot(
            *(100 * clean, 100 * robust),
            marker=".",
            color=style.colour,
            alpha=0.45,
            markersize=5,
            linestyle="none",
            zorder=2,
        )
    axes.errorbar(
        x,
        y,
        xerr=_lengths(x, point.ci_clean),
        yerr=_lengths(y, point.ci_robust),
        fmt=style.marker,
        color=style.colour,
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.5,
        elinewidth=1.1,
        # The original's lie on its dashed lines, and end where the caps are.
        capsize=2.5,
        label=label,
        zorder=3,
    )


def _lengths(centre: float, interval: Interval) -> list[list[float]] | None:
    """Below and above ``centre`` (per cent), as matplotlib wants them."""
    low, high = interval
    if math.isnan(low):
        return None
    return [[max(0.0, centre - 100 * low)], [max(0.0, 100 * high - centre)]]


def _within_accuracies(axes: Axes) -> None:
    """Some room around the points, so that no interval lies on an edge, and ticks in 0-100 %."""
    axes.margins(0.08)
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = axis.get_ticklocs()
        axis.set_ticks([at for at in ticks if max(0, low) <= at <= min(100, high)])
