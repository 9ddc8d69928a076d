"""Example images: drawn ones, and photographs of installed packages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from zsrobust.data.glyphs.sets import glyph_set
from zsrobust.data.image_set import ImageSet
from zsrobust.demo.examples import photographs
from zsrobust.serve.served import ServedModel

GLYPHS = (
    *(("chess", 3), ("small-letters", 6), ("arrows", 1), ("currencies", 2), ("symbols", 9)),
    *(("numerals", 7), ("zodiac", 4), ("coloured-shapes", 12)),
)
"""Drawn sets and the index of the image shown."""


@dataclass(frozen=True)
class Example:
    """An image and its candidate classes.

    Attributes:
        image: in mode RGB.
        class_names: its set's.
        shows: which of them it is.
    """

    image: Image.Image
    class_names: tuple[str, ...]
    shows: str


def examples(models: Sequence[ServedModel]) -> list[Example]:
    """Photographs if a model reads them, then drawings if a model reads those alone."""
    readers = [one for one in models if one.reads_photographs]
    others = [one for one in models if one not in readers]
    found: list[Example] = []
    if readers:
        images = photographs(skip_missing=True)
        found = [_example(images, index) for index in range(len(images))]
    for name, index in GLYPHS if others or not found else ():
        images = glyph_set(name, "test")
        if not others or any(not one.indistinguishable(images.class_names) for one in others):
            found.append(_example(images, index))
    return found


def _example(images: ImageSet, index: int) -> Example:
    names = images.class_names
    return Example(images.read_rgb(index), names, names[images.labels[index]])
