"""The bank of masks: every character in every font that has it, each filling the same square."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zsrobust.data.glyphs import fonts
from zsrobust.data.glyphs.concepts import Concept, concepts

SIDE = 32
"""Side of a stored mask in pixels."""

_DRAWN_AT = 96


@dataclass(frozen=True)
class Bank:
    """Masks of some fonts.

    Attributes:
        masks: (M, SIDE, SIDE), uint8, 255 where the thing is.
        first: (concepts + 1,): concept c has the masks first[c] to first[c + 1].
    """

    masks: NDArray[np.uint8]
    first: NDArray[np.int64]

    def counts(self) -> NDArray[np.int64]:
        """How many masks each concept has."""
        return np.diff(self.first)


@cache
def bank(names: tuple[str, ...]) -> Bank:
    """The masks of every concept in the fonts of these names; a drawn shape has one.

    Raises:
        RequestError: if a font is absent or damaged.
    """
    found: list[NDArray[np.uint8]] = []
    first = [0]
    for concept in concepts():
        found.extend(_masks(concept, names))
        first.append(len(found))
    return Bank(np.stack(found), np.array(first))


def _masks(concept: Concept, names: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    if not concept.characters:
        return [draw_shape(concept.name, SIDE)]
    return [
        _glyph(character, name)
        for name in names
        for character in concept.characters
        if ord(character) in fonts.characters(name)
    ]


def _glyph(character: str, name: str) -> NDArray[np.uint8]:
    """The character's ink scaled to touch two sides of the square, in proportion."""
    ink, _ = fonts.font(name, _DRAWN_AT).getmask2(character, mode="L")
    pixels = np.asarray(ink, dtype=np.uint8).reshape(ink.size[1], ink.size[0])
    image = Image.fromarray(pixels)
    image = image.crop(image.getbbox())
    longer = max(image.size)
    # A dash has some height however long it is.
    width, height = (max(round(n * SIDE / longer), round(SIDE / 12)) for n in image.size)
    square = Image.new("L", (SIDE, SIDE))
    square.paste(
        image.resize((width, height), Image.Resampling.BOX),
        ((SIDE - width) // 2, (SIDE - height) // 2),
    )
    return np.asarray(square)


_SUPERSAMPLING = 8

_Points = list[tuple[float, float]]


def draw_shape(name: str, side: int) -> NDArray[np.uint8]:
    """The shape filling a square of ``side`` pixels, 0 outside and 255 inside, antialiased."""
    size = side * _SUPERSAMPLING
    canvas = Image.new("L", (size, size))
    pen = ImageDraw.Draw(canvas)
    if name in _POLYGONS:
        pen.polygon([(x * size, y * size) for x, y in _POLYGONS[name]], fill=255)
    else:
        _ROUND[name](pen, size)
    return np.asarray(canvas.resize((side, side), Image.Resampling.BOX))


def _regular(corners: int) -> _Points:
    """A regular polygon in the unit square, standing on a side, or on a corner if that is even."""
    turn = math.pi / corners if corners % 2 == 0 else 0.0
    angles = [2 * math.pi * k / corners - math.pi / 2 + turn for k in range(corners)]
    return [(0.5 + 0.5 * math.cos(angle), 0.5 + 0.5 * math.sin(angle)) for angle in angles]


_POLYGONS: dict[str, _Points] = {
    "triangle": [(0.5, 0.05), (1.0, 0.95), (0.0, 0.95)],
    "square": [(0.08, 0.08), (0.92, 0.08), (0.92, 0.92), (0.08, 0.92)],
    "rectangle": [(0.0, 0.25), (1.0, 0.25), (1.0, 0.75), (0.0, 0.75)],
    "rhombus": [(0.5, 0.0), (0.85, 0.5), (0.5, 1.0), (0.15, 0.5)],
    "trapezoid": [(0.28, 0.2), (0.72, 0.2), (1.0, 0.8), (0.0, 0.8)],
    "parallelogram": [(0.32, 0.2), (1.0, 0.2), (0.68, 0.8), (0.0, 0.8)],
    "pentagon": _regular(5),
    "hexagon": _regular(6),
    "octagon": _regular(8),
}


def _circle(pen: ImageDraw.ImageDraw, size: int) -> None:
    pen.ellipse((0, 0, size, size), fill=255)


def _oval(pen: ImageDraw.ImageDraw, size: int) -> None:
    pen.ellipse((0, size * 0.22, size, size * 0.78), fill=255)


def _ring(pen: ImageDraw.ImageDraw, size: int) -> None:
    pen.ellipse((0, 0, size, size), fill=255)
    pen.ellipse((size * 0.25, size * 0.25, size * 0.75, size * 0.75), fill=0)


def _half_circle(pen: ImageDraw.ImageDraw, size: int) -> None:
    pen.pieslice((0, size * 0.22, size, size * 1.22), 180, 360, fill=255)


def _crescent(pen: ImageDraw.ImageDraw, size: int) -> None:
    pen.ellipse((0, 0, size, size), fill=255)
    pen.ellipse((size * 0.3, size * 0.05, size * 1.2, size * 0.95), fill=0)


_ROUND: dict[str, Callable[[ImageDraw.ImageDraw, int], None]] = {
    "circle": _circle,
    "oval": _oval,
    "ring": _ring,
    "half circle": _half_circle,
    "crescent": _crescent,
}
