"""Images before and after the attack, what was changed in them, and what each model says."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from zsrobust.evaluation.gallery import Gallery, Item, View
from zsrobust.reporting.figures.style import SMALL, TEXT, WIDTH, method_title, new_figure

# Inches. Text below an attacked image may run on below its change; below the first image
# it may not, so that its column is wider, as wide as that needs.
MARGIN, SPACE, LINE = 0.1, 0.08, 0.15
LEAST_FIRST, MOST_FIRST = 2.1, 2.7
LARGEST = 1.3
LETTERS = 24
"""Most letters of a class name: what fits below an image."""
A_LETTER = 0.064
"""Inches of a letter of small type, on average."""
A_SMALLER_LETTER = 0.057
"""Likewise, of the text below an image."""


def gallery_figure(gallery: Gallery) -> Figure:
    """A row a sample: the image, then for each model its attacked image and the change, magnified.

    Below every image is each model's prediction, with a tick where it is right. A change of
    nothing is mid-grey; the factor is one for all.
    """
    factor = magnification(gallery)
    titles = [method_title(method) for method in gallery.methods.values()]
    headings = [""]
    for name in titles:
        # A preset has a line of its own: the column is as wide as a picture.
        called = name.replace("[", "\n[")
        headings += [f"attacked against\n{called}", f"its change,\ntimes {factor}"]
    columns = len(headings) - 1
    first = _first(gallery)
    side = min(LARGEST, (WIDTH - 2 * MARGIN - first) / columns - SPACE)
    width = 2 * MARGIN + first + columns * (side + SPACE)
    footer = textwrap.wrap(
        f"Attack: {gallery.attack}, anew against each model. {gallery.chosen}",
        int((width - 2 * MARGIN) / A_LETTER),
    )
    row = side + LINE * (len(titles) + 2)
    most_lines = max(heading.count("\n") + 1 for heading in headings)
    above, below = (most_lines + 0.4) * LINE, LINE * (len(footer) + 1)
    height = above + row * len(gallery.items) + below
    figure = new_figure(height, width, arranged=False)
    for index, heading in enumerate(headings):
        figure.text(
            _left(index, side, first) / width,
            1 - above / height,
            heading,
            fontsize=TEXT,
            va="bottom",
        )
    for index, item in enumerate(gallery.items):
        _row(figure, item, gallery, above + row * index, side, first, factor)
    figure.text(MARGIN / width, below / height, "\n".join(footer), fontsize=SMALL, va="top")
    return figure


def magnification(gallery: Gallery) -> int:
    """The largest power of two, 1 or more, that takes no change beyond half the pixel range."""
    largest = max(
        float(np.abs(view.pixels - item.views[0].pixels).max())
        for item in gallery.items
        for view in item.views
    )
    return int(2 ** max(0, math.floor(math.log2(0.5 / largest)))) if largest > 0 else 1


def change(clean: View, attacked: View, factor: int) -> NDArray[np.float32]:
    """Mid-grey plus ``factor`` times the change, (3, H, W) in [0, 1]."""
    shown: NDArray[np.float32] = np.clip(0.5 + factor * (attacked.pixels - clean.pixels), 0, 1)
    return shown


def captions(view: View, gallery: Gallery) -> list[str]:
    """A line a model: its method, what it sees and how surely, with a tick where it is right."""
    lines = []
    for model, method in gallery.methods.items():
        found = view.predictions[model]
        short = replace(found, name=textwrap.shorten(found.name, LETTERS, placeholder="…"))
        lines.append(f"{method_title(method)}: {short.caption}")
    return lines


def _first(gallery: Gallery) -> float:
    """Inches of the first column: its captions fit, within reason."""
    longest = max(len(line) for item in gallery.items for line in captions(item.views[0], gallery))
    return min(max(LEAST_FIRST, longest * A_SMALLER_LETTER), MOST_FIRST)


def _row(
    figure: Figure,
    item: Item,
    gallery: Gallery,
    top: float,
    side: float,
    first: float,
    factor: int,
) -> None:
    """One sample, its pictures ``side`` inches wide, from ``top`` inches below the upper edge."""
    width, height = figure.get_size_inches()
    several = len({one.dataset for one in gallery.items}) > 1
    label = f"{item.label} ({item.dataset})" if several else item.label
    figure.text(
        MARGIN / width, 1 - (top + 0.7 * LINE) / height, label, fontsize=SMALL, weight="bold"
    )
    pictures: list[tuple[NDArray[np.float32], list[str]]] = []
    for view in item.views:
        pictures.append((view.pixels, captions(view, gallery)))
        if view.against:
            pictures.append((change(item.views[0], view, factor), []))
    for index, (pixels, lines) in enumerate(pictures):
        left = _left(index, side, first) / width
        bottom = 1 - (top + LINE + side) / height
        axes = figure.add_axes((left, bottom, side / width, side / height))
        axes.imshow(np.clip(pixels.transpose(1, 2, 0), 0, 1), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#a0a0a0")
        figure.text(left, bottom - 0.03 / height, "\n".join(lines), fontsize=SMALL - 1, va="top")


def _left(column: int, side: float, first: float) -> float:
    """Inches from the left edge to a column; the first is ``first`` wide."""
    return MARGIN + (first + (column - 1) * (side + SPACE) if column else 0)
