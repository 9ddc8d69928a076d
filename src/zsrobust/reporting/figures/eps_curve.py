"""Accuracy against the radius of the attack: a curve a method."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import Point, accuracy_series, main_average
from zsrobust.reporting.figures.style import (
    FAINT,
    NARROW,
    SMALL,
    TEXT,
    WIDTH,
    bare,
    legend_above,
    new_figure,
    styles,
)
from zsrobust.utils.errors import RequestError

COLUMNS = 2
PANEL = 2.9
"""Inches of height a row of panels."""

Curves = dict[str, tuple[str, list[tuple[float, Point]]]]


def attacks_with_radii(results: Results) -> dict[tuple[str, str], dict[float, str]]:
    """By attack and norm, ``Row.condition`` by radius, of attacks with several radii."""
    found: dict[tuple[str, str], dict[float, str]] = {}
    for row in results.rows:
        found.setdefault((row.attack, row.norm), {})[row.eps] = row.condition
    return {
        attack: dict(sorted(radii.items())) for attack, radii in found.items() if len(radii) > 1
    }


def eps_figure(results: Results, *, narrow: bool = False) -> Figure:
    """A panel an attack, a curve a method over the radii; clean accuracy is at radius 0.

    Points are the average of :func:`main_average`, in per cent, with 95 % intervals. Radii are in
    pixel levels of 255 in L-inf, and as they are in L2.

    Args:
        results: of an evaluation.
        narrow: for a phone, the panels below each other.

    Raises:
        RequestError: if no attack has two radii.
    """
    panels = attacks_with_radii(results)
    if not panels:
        raise RequestError("no attack was run at two radii: evaluate with eps 1/255 and 4/255")
    columns = 1 if narrow else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(0.4 + PANEL * rows, NARROW if narrow else WIDTH)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (attack, radii) in zip(grid.flat, panels.items(), strict=False):
        curves, place = _curves(results, radii)
        levels = 255 if attack[1] == "linf" else 1
        _panel(axes, curves, levels)
        axes.set_title(f"{attack[0]}, {place}", fontsize=TEXT)
        axes.set_xlabel("eps, /255" if levels == 255 else "eps in L2", fontsize=SMALL)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel("accuracy, %", fontsize=SMALL)
        axes.set_ylim(bottom=0)
    legend_above(figure, *grid.flat[0].get_legend_handles_labels())
    return figure


def _curves(results: Results, radii: dict[float, str]) -> tuple[Curves, str]:
    """By label, the method and its points in order of radius; and what they are averaged over."""
    curves: Curves = {}
    name = ""
    for eps, condition in radii.items():
        places, series = accuracy_series(results, condition)
        name = main_average(places).name
        for one in series:
            _, points = curves.setdefault(one.legend, (one.method, []))
            if not points and eps > 0:
                points.append((0.0, one.clean[name]))
            points.append((eps, one.robust[name]))
    return curves, name


def _panel(axes: Axes, curves: Curves, levels: int) -> None:
    bare(axes)
    axes.grid(color=FAINT, linewidth=0.6)
    for (label, (_, points)), style in zip(
        curves.items(), styles([method for method, _ in curves.values()]), strict=True
    ):
        y = np.array([100 * point.accuracy for _, point in points])
        limits = np.array([[100 * limit for limit in point.interval] for _, point in points])
        axes.errorbar(
            [levels * eps for eps, _ in points],
            y,
            yerr=np.abs(np.stack([y - limits[:, 0], limits[:, 1] - y])),
            marker=style.marker,
            color=style.colour,
            markersize=4,
            linewidth=1.2,
            elinewidth=0.9,
            label=label,
            clip_on=False,
        )
