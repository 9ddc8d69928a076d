"""What is to be seen: recipes for scenes, and the scenes that they give for some indices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsrobust.data.glyphs.draws import uniform
from zsrobust.data.glyphs.masks import bank
from zsrobust.data.glyphs.palette import COLOUR_JITTER, COLOURS, CONTRASTING, PAPERS, STYLES

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

CELLS = 9
"""Small things lie on a grid of three by three."""


@dataclass(frozen=True)
class Recipe:
    """What scenes of a set may hold; each is drawn evenly from what is allowed.

    Attributes:
        concepts: indices into ``concepts()``.
        fonts: names of fonts.
        styles: names of ``palette.STYLES``.
        small: share of scenes that show small copies on a grid, in [0, 1]; others show one thing,
            large and about the middle.
        most: the largest number of copies.
        allowed: (concept, colour) to whether the pair may be shown; None for every pair.
    """

    concepts: tuple[int, ...]
    fonts: tuple[str, ...]
    styles: tuple[str, ...]
    small: float = 0.0
    most: int = 1
    allowed: Callable[[Ints, Ints], NDArray[np.bool_]] | None = None


@dataclass(frozen=True)
class Scenes:
    """N scenes, one array an attribute, each (N,) unless stated otherwise.

    Attributes:
        concept: index into ``concepts()``.
        mask: index into the bank of the recipe's fonts.
        colour: index into ``palette.COLOURS`` of the thing; ``ground`` of what is behind it.
        paper: index into ``palette.PAPERS``.
        style: index into ``palette.STYLES``.
        count: how many copies, 1 to 6.
        cells: (N, 9), the grid's cells in the order in which copies take them.
        large: whether the thing is one and large, so that ``cells`` says nothing.
        free: (N, FREE), numbers in [0, 1) for the rest: sizes, turns, shades, noise.
    """

    concept: Ints
    mask: Ints
    colour: Ints
    ground: Ints
    paper: Ints
    style: Ints
    count: Ints
    cells: Ints
    large: NDArray[np.bool_]
    free: Floats

    def __len__(self) -> int:
        return len(self.concept)


FREE = 40
_DRAWN = 8 + CELLS


def draw_scenes(recipe: Recipe, key: np.uint64, indices: Ints, **fixed: Ints) -> Scenes:
    """The scenes at ``indices`` of the stream ``key``.

    ``fixed`` gives attributes of ``Scenes`` that are not drawn: ``concept``, ``colour``,
    ``ground``, ``paper``, ``count``, or ``cells``.
    """
    draws = uniform(key, indices, _DRAWN + FREE)
    concept = fixed.get("concept", _choose(np.array(recipe.concepts), draws[:, 0]))
    colour = fixed.get("colour", _choose(np.arange(len(COLOURS)), draws[:, 1]))
    if recipe.allowed is not None and "colour" not in fixed:
        for _ in COLOURS:
            colour = np.where(recipe.allowed(concept, colour), colour, (colour + 1) % len(COLOURS))
    masks = bank(recipe.fonts)
    large = draws[:, 2] >= recipe.small
    count = fixed.get("count", np.where(large, 1, 1 + _choose(np.arange(recipe.most), draws[:, 3])))
    return Scenes(
        concept=concept,
        mask=masks.first[concept] + (draws[:, 4] * masks.counts()[concept]).astype(np.int64),
        colour=colour,
        ground=fixed.get("ground", _contrasting(colour, draws[:, 5])),
        paper=fixed.get("paper", _choose(np.arange(len(PAPERS)), draws[:, 6])),
        style=_choose(np.array([STYLES.index(style) for style in recipe.styles]), draws[:, 7]),
        count=count,
        cells=fixed.get("cells", np.argsort(draws[:, 8 : 8 + CELLS], axis=1)),
        large=large,
        free=draws[:, _DRAWN:],
    )


def shades(colour: Ints, free: Floats) -> Floats:
    """RGB in [0, 1], (N, 3), of colours by index, each channel off by up to the jitter."""
    centres = np.array(list(COLOURS.values()), dtype=np.float32)[colour]
    return (centres + (2 * free - 1) * COLOUR_JITTER) / np.float32(255)


def _choose(options: Ints, draw: Floats) -> Ints:
    chosen: Ints = options[(draw * len(options)).astype(np.int64)]
    return chosen


def _contrasting(colour: Ints, draw: Floats) -> Ints:
    """A ground that the colour can be seen on."""
    most = max(len(others) for others in CONTRASTING)
    table = np.array([[*others, *[0] * (most - len(others))] for others in CONTRASTING])
    counts = np.array([len(others) for others in CONTRASTING])
    ground: Ints = table[colour, (draw * counts[colour]).astype(np.int64)]
    return ground
