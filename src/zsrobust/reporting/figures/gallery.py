"""Images before and after the attack, what was changed in them, and what each model says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from zsrobust.evaluation.gallery import Gallery, Item, View
from zsrobust.reporting.figures.style import SMALL, TEXT, WIDTH, new_figure
from zsrobust.reporting.names import method_title

MARGIN, SPACE, LINE = 0.1, 0.08, 0.15
"""Inches: around everything, between pictures, and of a line of text."""
LARGEST = 1.3
"""Inches of the side of a picture, at most."""
BETWEEN = 0.15
"""Inches between the text of neighbouring columns, at least."""
LEAST = 16
"""Letters of a class name that a column has room for on one line."""
CAPTION = SMALL - 1
HINTED = 1.1
"""How much wider letters are at most where they are fitted to pixels."""


def gallery_figure(gallery: Gallery) -> Figure:
    """A row a sample: the image, then for each model its attacked image and the change, magnified.

    Below every image is each model's prediction, with a tick where it is right. A change of
    nothing is mid-grey; the factor is one for all.
    """
    factor = magnification(gallery)
    titles = [method_title(method) for method in gallery.methods.values()]
    column = _column(gallery)
    side = min(LARGEST, (column - SPACE) / 2)
    lefts = [MARGIN + (column + BETWEEN) * index for index in range(len(titles) + 1)]
    width = lefts[-1] + column + MARGIN
    headings = [
        _wrapped(f"attack on {name}; perturbation times {factor}", column, TEXT) for name in titles
    ]
    footer = _wrapped(
        f"Attack: {gallery.attack}, on each model separately. {gallery.chosen}",
        width - 2 * MARGIN,
        SMALL,
    )
    most = max(
        len(captions(view, gallery, column)) for item in gallery.items for view in item.views
    )
    row = side + LINE * (most + 2)
    above = (max(heading.count("\n") + 1 for heading in headings) + 0.4) * LINE
    below = LINE * (footer.count("\n") + 2)
    height = above + row * len(gallery.items) + below
    figure = new_figure(height, width, arranged=False)
    for left, heading in zip(lefts[1:], headings, strict=True):
        figure.text(left / width, 1 - above / height, heading, fontsize=TEXT, va="bottom")
    for index, item in enumerate(gallery.items):
        _row(figure, item, gallery, above + row * index, side, lefts, column, factor)
    figure.text(MARGIN / width, below / height, footer, fontsize=SMALL, va="top")
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


def captions(view: View, gallery: Gallery, inches: float) -> list[str]:
    """Each model's method, what it sees and how surely, with a tick where it is right.

    In lines of at most ``inches``.
    """
    return [
        line
        for model, method in gallery.methods.items()
        for line in _wrapped(_caption(view, model, method), inches, CAPTION).splitlines()
    ]


def _caption(view: View, model: str, method: str, letters: int | None = None) -> str:
    found = view.predictions[model]
    return f"{method_title(method)}: {replace(found, name=found.name[:letters]).caption}"


def _longest(gallery: Gallery) -> float:
    """Inches of the longest word, or of the longest caption with names of ``LEAST`` letters."""
    return max(
        _inches(part, CAPTION)
        for item in gallery.items
        for view in item.views
        for model, method in gallery.methods.items()
        for part in (
            _caption(view, model, method, LEAST),
            *_caption(view, model, method).split(),
        )
    )


def _column(gallery: Gallery) -> float:
    """Inches of an attacked image and its change side by side, and of the captions below."""
    columns = 1 + len(gallery.methods)
    on_a_page = (WIDTH - 2 * MARGIN) / columns - BETWEEN
    return max(min(2 * LARGEST + SPACE, on_a_page), _longest(gallery))


@cache
def _inches(text: str, size: float) -> float:
    return HINTED * float(TextPath((0, 0), text, size=size).get_extents().x1) / 72


def _wrapped(text: str, inches: float, size: float) -> str:
    """In lines of at most ``inches``, broken at spaces and before a preset."""
    lines = [""]
    for word in text.replace("[", " [").split():
        glue = "" if word.startswith("[") else " "
        longer = f"{lines[-1]}{glue}{word}" if lines[-1] else word
        if lines[-1] and _inches(longer, size) > inches:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _row(
    figure: Figure,
    item: Item,
    gallery: Gallery,
    top: float,
    side: float,
    lefts: Sequence[float],
    column: float,
    factor: int,
) -> None:
    """One sample, its pictures ``side`` inches wide, from ``top`` inches below the upper edge."""
    width, height = figure.get_size_inches()
    several = len({one.dataset for one in gallery.items}) > 1
    label = f"{item.label} ({item.dataset})" if several else item.label
    figure.text(
        MARGIN / width, 1 - (top + 0.7 * LINE) / height, label, fontsize=SMALL, weight="bold"
    )
    bottom = 1 - (top + LINE + side) / height
    for view, left in zip(item.views, lefts, strict=True):
        pictures = [view.pixels]
        if view.against:
            pictures.append(change(item.views[0], view, factor))
        for number, pixels in enumerate(pictures):
            at = (left + number * (side + SPACE)) / width
            axes = figure.add_axes((at, bottom, side / width, side / height))
            axes.imshow(np.clip(pixels.transpose(1, 2, 0), 0, 1), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color("#a0a0a0")
        figure.text(
            left / width,
            bottom - 0.03 / height,
            "\n".join(captions(view, gallery, column)),
            fontsize=CAPTION,
            va="top",
        )
