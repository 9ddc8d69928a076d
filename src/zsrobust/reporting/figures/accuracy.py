"""Clean and robust accuracy of every method on every set: Figure 1 of PMG-AFT."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import (
    Place,
    Point,
    Series,
    accuracy_series,
    strongest,
)
from zsrobust.reporting.figures.style import (
    FAINT,
    NARROW,
    SMALL,
    TEXT,
    WIDTH,
    Style,
    bare,
    legend_above,
    new_figure,
    styles,
)

ROW, LEAST_ROW, PAGE = 0.4, 0.3, 9.5
"""Inches a set: less where many sets must fit on a page of ``PAGE`` inches."""
SPREAD = 0.72
"""Share of a row that its series are spread over, so that intervals do not cover each other."""
LETTERS = 30
"""Of the name of a set, at most."""
GAP = 0.6
"""Rows left between the sets and their averages."""
UNCOUNTED = "#707070"
"""Colour of the names of sets that do not count in the average shown."""
NARROW_ROW, LABEL = 0.55, 0.3
"""Inches a set on a phone, where its name stands above its points, and the share of the name."""


def accuracy_figure(
    results: Results,
    condition: str | None = None,
    *,
    narrow: bool = False,
    sets: Averaged | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """A row a set and, set apart, the averages; clean accuracy left, robust accuracy right.

    Below a named average are the sets that do not count in it. A point is an accuracy in per cent
    and its whisker the 95 % interval: Wilson's for a set and MOVER's for an average;
    ``seeds_interval`` where a method has several seeds.

    Args:
        results: of an evaluation.
        condition: the attack, such as ``pgd-10 1/255``; by default the one that leaves least.
        narrow: for a phone, each set's name above its points.
        sets: of the one average to show; None for that of all and that of unseen sets.
        titles: what methods are called, by a model's name; by default by their ``display_names``.

    Raises:
        RequestError: if no row has that attack, or there are no results on one of ``sets``.
    """
    condition = condition or strongest(results)
    places, series = accuracy_series(results, condition, sets)
    called = titles or {}
    series = [replace(one, label=called.get(one.models[0], one.label)) for one in series]
    alone = [place for place in places if not place.average]
    places = places if len(alone) > 1 else alone
    heights = np.array([index + GAP * place.part for index, place in enumerate(places)])
    rows = float(heights[-1]) + 1
    row = NARROW_ROW if narrow else min(ROW, max(LEAST_ROW, PAGE / rows))
    figure = new_figure(1.1 + rows * row, NARROW if narrow else WIDTH)
    offsets = [at * (1 - LABEL) + LABEL / 2 if narrow else at for at in _offsets(len(series))]
    # In points, as wide as the series are apart.
    size = min(4.5, 72 * row * SPREAD / len(series))
    panels = cast(Sequence[Axes], figure.subplots(1, 2, sharey=True))
    for panel, kind in zip(panels, ("clean", "robust"), strict=True):
        bare(panel)
        _stripes(panel, places, heights)
        for one, style, offset in zip(
            series, styles([s.method for s in series]), offsets, strict=True
        ):
            points = getattr(one, kind)
            at = [
                (points[p.name], y)
                for p, y in zip(places, heights, strict=True)
                if p.name in points
            ]
            _whiskers(panel, at, offset, style, size, one.legend)
        panel.set_title(kind if kind == "clean" else f"under {condition}", fontsize=TEXT)
        panel.set_xlabel("accuracy, %", fontsize=SMALL)
        panel.set_xlim(0, _end(series, kind))
    # On a phone the names stand in the panels, at the upper edge of their rows.
    ticks = heights - 0.5 + LABEL if narrow else heights
    panels[0].set_yticks(ticks, [_words(place) for place in places])
    for label, place in zip(panels[0].get_yticklabels(), places, strict=True):
        label.set_fontweight("bold" if place.average else "normal")
        label.set_color("black" if place.weight else UNCOUNTED)
        if narrow:
            label.set(ha="left", va="bottom")
    if narrow:
        panels[0].tick_params(axis="y", pad=-3)
        panels[0].set_zorder(2)
        panels[0].patch.set_visible(False)
    panels[0].set_ylim(heights[-1] + 0.5, -0.5)
    legend_above(figure, *panels[0].get_legend_handles_labels())
    return figure


def _offsets(count: int) -> list[float]:
    return [SPREAD * ((index + 0.5) / count - 0.5) for index in range(count)]


def _words(place: Place) -> str:
    if place.average:
        return place.name
    name = place.name if len(place.name) <= LETTERS else f"{place.name[: LETTERS - 1]}…"
    marks = ["seen"] * place.seen
    if place.weight != 1:
        marks.append(f"counts 1/{round(1 / place.weight)}" if place.weight else "not counted")
    marked = f" ({', '.join(marks)})" if marks else ""
    return f"{name}{marked}, n {place.n}"


def _stripes(panel: Axes, places: Sequence[Place], heights: np.ndarray) -> None:
    """Every other row in faint grey, lines at round accuracies, and a line between the parts."""
    for index, (place, y) in enumerate(zip(places, heights, strict=True)):
        if index % 2 == 0:
            panel.axhspan(y - 0.5, y + 0.5, color="#f5f5f5", linewidth=0, zorder=0)
        if index and place.part != places[index - 1].part:
            panel.axhline(y - 0.5 - GAP / 2, color="#808080", linewidth=0.8)
    panel.grid(axis="x", color=FAINT, linewidth=0.6)
    panel.tick_params(axis="y", length=0)


def _whiskers(
    panel: Axes,
    at: Sequence[tuple[Point, float]],
    offset: float,
    style: Style,
    size: float,
    label: str,
) -> None:
    x = np.array([100 * point.accuracy for point, _ in at])
    limits = np.array([[100 * limit for limit in point.interval] for point, _ in at])
    lengths = np.abs(np.stack([x - limits[:, 0], limits[:, 1] - x]))
    panel.errorbar(
        x,
        [y + offset for _, y in at],
        xerr=lengths,
        fmt=style.marker,
        color=style.colour,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.4,
        elinewidth=1.1,
        label=label,
        zorder=3,
        # A point at 0 % is drawn whole.
        clip_on=False,
    )


def _end(series: Sequence[Series], kind: str) -> float:
    """The right end of the axis: the next multiple of ten above every point and whisker."""
    points = [point for one in series for point in getattr(one, kind).values()]
    furthest: float = max(max(point.accuracy, point.interval[1]) for point in points)
    return min(100.0, 10.0 * (math.floor(10 * furthest + 1e-9) + 1))
