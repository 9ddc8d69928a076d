"""Colours, backgrounds and drawing styles."""

from __future__ import annotations

import numpy as np

COLOURS: dict[str, tuple[int, int, int]] = {
    "black": (25, 25, 25),
    "white": (235, 235, 235),
    "gray": (128, 128, 128),
    "red": (210, 35, 40),
    "orange": (240, 140, 25),
    "yellow": (235, 220, 45),
    "green": (45, 155, 65),
    "blue": (45, 75, 200),
    "turquoise": (55, 200, 200),
    "purple": (125, 45, 165),
    "pink": (240, 145, 190),
    "brown": (115, 70, 35),
}

COLOUR_JITTER = 20
"""Each channel of a colour lies within this of its value above, out of 255."""

PAPERS = (
    *("plain paper", "horizontal stripes", "vertical stripes", "diagonal stripes"),
    *("checks", "dots", "speckles", "a gradient"),
)

SEEN_STYLES = ("solid", "outlined", "shadowed", "shaded")
UNSEEN_STYLES = ("hatched", "dotted", "cut out", "blocky")
STYLES = SEEN_STYLES + UNSEEN_STYLES

_LEAST_CONTRAST = 75.0


def _contrasting() -> tuple[tuple[int, ...], ...]:
    values = np.array(list(COLOURS.values()), dtype=float)
    apart = np.sqrt(((values[:, None] - values[None]) ** 2).mean(-1))
    return tuple(tuple(np.flatnonzero(row >= _LEAST_CONTRAST).tolist()) for row in apart)


CONTRASTING = _contrasting()
"""For each colour those that it can be seen on: at least 75 of 255 apart, root mean square."""
