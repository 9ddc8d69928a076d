"""How fine-tuning went: loss, and accuracy on clean and on attacked images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from zsrobust.reporting.figures.style import (
    FAINT,
    NARROW,
    SMALL,
    TEXT,
    Style,
    bare,
    legend_above,
    new_figure,
    styles,
)
from zsrobust.utils.errors import RequestError

Lines = Sequence[dict[str, Any]]
# Of a training line and of a held-out line of metrics.jsonl.
_LOSS = "loss of a batch"
_PANELS = (
    (_LOSS, "total", ""),
    ("clean accuracy, %", "clean_acc", "clean_acc"),
    ("accuracy when attacked, %", "adversarial_acc", "robust_acc"),
)

THIN, SIZE = 0.9, 5
"""Width of lines and size of markers, in points."""


def curves_figure(runs: Sequence[tuple[str, str, Lines]], *, narrow: bool = False) -> Figure:
    """Loss, clean accuracy and accuracy on attacked images over steps, a colour a label.

    Thin lines are batches of training, markers the held-out images that the model is chosen on. A
    panel that no run has values for is left out: methods that train on adversarial images alone
    have no clean accuracy, unless images were held out.

    Args:
        runs: label, method and the lines of ``metrics.jsonl`` of each; seeds of one recipe share
            their label.
        narrow: for a phone, the panels below each other.

    Raises:
        RequestError: if there is none.
    """
    if not runs:
        raise RequestError("there is no fine-tuning run to draw: name one or more")
    shown = [panel for panel in _PANELS if panel[0] == _LOSS or _has_values(runs, *panel[1:])]
    figure = new_figure(2.5 * len(shown), NARROW) if narrow else new_figure(2.9)
    shape = (len(shown), 1) if narrow else (1, len(shown))
    panels = cast(Sequence[Axes], figure.subplots(*shape, squeeze=False).flat)
    methods = {label: method for label, method, _ in runs}
    of = dict(zip(methods, styles(list(methods.values())), strict=True))
    for axes, (title, trained, held_out) in zip(panels, shown, strict=True):
        bare(axes)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        for label, _, lines in runs:
            _curve(axes, lines, trained, of[label])
            _marks(axes, lines, held_out, of[label])
        axes.set_title(title, fontsize=TEXT)
        axes.set_xlabel("training step", fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if trained != "total":
            axes.set_ylim(0, 100)
    legend_above(figure, [_handle(runs, label, of[label]) for label in of], list(of))
    return figure


def _has_values(runs: Sequence[tuple[str, str, Lines]], trained: str, held_out: str) -> bool:
    key = {"train": trained, "held_out": held_out}
    return any(key.get(line.get("kind", "")) in line for _, _, lines in runs for line in lines)


def _curve(axes: Axes, lines: Lines, key: str, style: Style) -> None:
    found = [line for line in lines if line.get("kind") == "train" and key in line]
    factor = 1 if key == "total" else 100
    axes.plot(
        [line["step"] for line in found],
        [factor * line[key] for line in found],
        color=style.colour,
        linewidth=THIN,
        alpha=0.75,
    )


def _marks(axes: Axes, lines: Lines, key: str, style: Style) -> None:
    found = [line for line in _held_out(lines) if key in line]
    if not found:
        return  # The layout would make room for a marker at the figure's corner.
    axes.plot(
        [line["step"] for line in found],
        [100 * line[key] for line in found],
        color=style.colour,
        marker=style.marker,
        markersize=SIZE,
        linestyle="none",
        # A marker at 0 % or at the last step is drawn whole.
        clip_on=False,
    )


def _handle(runs: Sequence[tuple[str, str, Lines]], label: str, style: Style) -> Line2D:
    """What stands for a label in the legend: no marker where no image was held out."""
    marked = any(_held_out(lines) for name, _, lines in runs if name == label)
    marker = style.marker if marked else "none"
    return Line2D([], [], color=style.colour, linewidth=THIN, marker=marker, markersize=SIZE)


def _held_out(lines: Lines) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("kind") == "held_out"]
