"""The bank of masks: every character in every font that has it, each filling the same square."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsrobust.data.glyphs import fonts, shapes
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
        return [shapes.draw(concept.name, SIDE)]
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
    # A dash keeps some height however long it is.
    width, height = (max(round(n * SIDE / longer), round(SIDE / 12)) for n in image.size)
    square = Image.new("L", (SIDE, SIDE))
    square.paste(
        image.resize((width, height), Image.Resampling.BOX),
        ((SIDE - width) // 2, (SIDE - height) // 2),
    )
    return np.asarray(square)
