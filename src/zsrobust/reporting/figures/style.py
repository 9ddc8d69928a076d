"""What all figures share: size, colours, markers, and how they are saved.

Colours are those of Okabe and Ito, distinct for every kind of colour vision ("Color universal
design", 2008); markers differ as well, so that a grey print loses nothing.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from zsrobust.utils.files import atomic_file

WIDTH, NARROW = 7.5, 3.5
"""Inches, about the text width of a page and of a phone: a point of type stays a point there."""
TEXT, SMALL = 9.0, 8.0
FAINT = "#d9d9d9"
COLUMNS = 4
"""Of a legend, at most."""
ONE_LINE = 0.3
"""Inches of a legend of one line, which figures have room for."""
LETTER = 0.08
"""Inches of a letter of ``TEXT`` points, seldom more."""

_WATERMARK: ContextVar[str] = ContextVar("watermark", default="")


@dataclass(frozen=True)
class Style:
    """Colour and marker of one series."""

    colour: str
    marker: str


# Dark and light alternate, so that neighbours differ in grey as well.
_OWN = {
    "original": Style("#595959", "o"),
    "ft_clean": Style("#56b4e9", "s"),
    "tecoa": Style("#e69f00", "^"),
    "pmg_aft": Style("#0072b2", "D"),
}
# Each colour once with each marker, every four in four colours and four markers.
_COLOURS, _MARKERS = ("#d55e00", "#009e73", "#cc79a7", "#000000"), "vPX*"
_OTHERS = tuple(
    Style(colour, _MARKERS[(number + turn) % 4])
    for turn in range(4)
    for number, colour in enumerate(_COLOURS)
)


def styles(methods: Sequence[str]) -> list[Style]:
    """A style for each method, in order: a known one's own where it is free, else another."""
    given: list[Style] = []
    others = cycle(_OTHERS)
    for method in methods:
        own = _OWN.get(method, _OWN.get(method.partition("[")[0]))
        given.append(own if own is not None and own not in given else next(others))
    return given


@contextmanager
def watermark(text: str) -> Iterator[None]:
    """Figures that are made within the block have ``text`` across; none where it is empty."""
    token = _WATERMARK.set(text)
    try:
        yield
    finally:
        _WATERMARK.reset(token)


def new_figure(height: float, width: float = WIDTH, *, arranged: bool = True) -> Figure:
    """An empty white figure, in inches, that belongs to no window.

    ``arranged`` leaves it to matplotlib to make room for labels.
    """
    figure = Figure(
        figsize=(width, height), layout="constrained" if arranged else None, facecolor="white"
    )
    FigureCanvasAgg(figure)
    if text := _WATERMARK.get():
        size = 4 * width
        across = figure.text(0.5, 0.5, text, ha="center", va="center", rotation=15, fontsize=size)
        across.set(color="#d55e00", alpha=0.35, zorder=10)
    return figure


def legend_above(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend above all panels, in as many columns as the figure is wide enough for.

    The figure grows by what a legend of several lines takes.
    """
    letters = int(figure.get_figwidth() / LETTER) - 4
    labels = [textwrap.fill(label, letters) for label in labels]
    for columns in range(COLUMNS, 0, -1):
        legend = figure.legend(
            handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=TEXT
        )
        box = legend.get_window_extent()
        if box.width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
    figure.set_figheight(figure.get_figheight() + max(0.0, box.height / figure.dpi - ONE_LINE))


def bare(axes: Axes) -> None:
    """Leave the axes with what carries information: no box, small type."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=SMALL)
    axes.set_axisbelow(True)


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem``.png and ``stem``.svg, whole or not at all; the same figure, the same bytes."""
    paths = []
    # Otherwise names inside an SVG are random; neither file says when it was made.
    with matplotlib.rc_context({"svg.hashsalt": "zsrobust"}):
        for suffix, options in ((".png", {"dpi": 200}), (".svg", {"metadata": {"Date": None}})):
            path = stem.with_name(stem.name + suffix)
            with atomic_file(path) as temporary:
                figure.savefig(temporary, format=suffix[1:], **options)
            paths.append(path)
    return paths
