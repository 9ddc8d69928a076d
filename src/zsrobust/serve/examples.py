"""Example images: drawn ones, and photographs of installed packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image

from zsrobust.data.glyphs.sets import glyph_set
from zsrobust.data.image_set import ImageSet
from zsrobust.demo.examples import photographs
from zsrobust.serve.served import ServedModel
from zsrobust.utils.errors import RequestError

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
    """The examples whose class names at least one of the models can distinguish."""
    found: list[Example] = []
    for images, indices in _sets():
        if any(not one.indistinguishable(images.class_names) for one in models):
            found += [_example(images, index) for index in indices]
    return found


def _sets() -> Iterator[tuple[ImageSet, Sequence[int]]]:
    for name, index in GLYPHS:
        yield glyph_set(name, "test"), [index]
    # Where a package is not installed, there are only drawings.
    with suppress(RequestError):
        images = photographs()
        yield images, range(len(images))


def _example(images: ImageSet, index: int) -> Example:
    names = images.class_names
    return Example(images.read_rgb(index), names, names[images.labels[index]])
