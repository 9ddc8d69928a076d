"""The drawn sets: what each shows, its class names, and its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zsrobust.data.glyphs import fonts
from zsrobust.data.glyphs.captions import NUMBERS, POSITIONS
from zsrobust.data.glyphs.concepts import concepts, indices_of, training_indices
from zsrobust.data.glyphs.draws import stream
from zsrobust.data.glyphs.palette import (
    COLOURS,
    CONTRASTING,
    PAPERS,
    SEEN_STYLES,
    UNSEEN_STYLES,
)
from zsrobust.data.glyphs.render import SIDE, render
from zsrobust.data.glyphs.scenes import CELLS, Ints, Recipe, draw_scenes
from zsrobust.data.image_set import ImageSet
from zsrobust.utils.errors import RequestError

TRAINING = "training"
SIZES = {"train": 20_000, "test": 1_000}
_BLOCK = 500

_SHAPES = indices_of("shape")
_ZERO_SHOT = tuple(i for i, concept in enumerate(concepts()) if not concept.training)

Fix = Callable[[Ints, Ints], dict[str, Ints]]
"""From labels and indices to the attributes of ``draw_scenes`` that they fix."""


@dataclass(frozen=True)
class GlyphSet:
    """One set.

    Attributes:
        class_names: in label order, as prompts use them.
        recipe: what its scenes may hold.
        fix: labels to what they fix in a scene.
        templates: prompts.
    """

    class_names: tuple[str, ...]
    recipe: Recipe
    fix: Fix
    templates: tuple[str, ...] = ("a picture of a {}",)


def shown_in_pretraining(concept: Ints, colour: Ints) -> NDArray[np.bool_]:
    """Whether pre-training shows a concept in a colour; a fifth of shapes' pairs are held out."""
    held_out: NDArray[np.bool_] = np.isin(concept, _SHAPES) & ((concept + 3 * colour) % 5 == 0)
    return ~held_out


def _of(kinds: tuple[int, ...], **changed: object) -> GlyphSet:
    """A set whose classes are concepts."""
    recipe = replace(Recipe(kinds, fonts.SEEN, SEEN_STYLES), **changed)  # type: ignore[arg-type]
    table = np.array(kinds)
    names = tuple(concepts()[i].name for i in kinds)
    return GlyphSet(names, recipe, lambda labels, _: {"concept": table[labels]})


def _about(
    attribute: str, names: tuple[str, ...], template: str, small: float = 0.3, first: int = 0
) -> GlyphSet:
    """A set whose classes are values of an attribute, whatever the thing is."""
    recipe = Recipe(_ZERO_SHOT, fonts.SEEN, SEEN_STYLES, small=small, most=6)
    return GlyphSet(names, recipe, lambda labels, _: {attribute: labels + first}, (template,))


def _grounds() -> GlyphSet:
    """Classes are the colours behind; the thing has one that is seen on it."""

    def fix(labels: Ints, indices: Ints) -> dict[str, Ints]:
        return {"ground": labels, "colour": _in_turn(CONTRASTING, labels, indices)}

    return replace(_about("ground", tuple(COLOURS), "a thing on a {} background"), fix=fix)


def _positions() -> GlyphSet:
    """Classes are the places of one small thing."""

    def fix(labels: Ints, _: Ints) -> dict[str, Ints]:
        cells = (labels[:, None] + np.arange(CELLS)) % CELLS
        return {"cells": cells, "count": np.ones_like(labels)}

    return replace(_about("", POSITIONS, "a thing in the {}", small=1.0), fix=fix)


def _kinds() -> GlyphSet:
    """Classes are kinds of things."""
    kinds = tuple(dict.fromkeys(concepts()[i].kind for i in _ZERO_SHOT))
    members = [indices_of(kind) for kind in kinds]

    def fix(labels: Ints, indices: Ints) -> dict[str, Ints]:
        return {"concept": _in_turn(members, labels, indices)}

    return GlyphSet(kinds, Recipe(_ZERO_SHOT, fonts.SEEN, SEEN_STYLES), fix)


def _coloured_shapes() -> GlyphSet:
    """Classes are the pairs of colour and shape that pre-training never shows."""
    pairs = np.array(
        [
            (concept, colour)
            for concept in _SHAPES
            for colour in range(len(COLOURS))
            if not shown_in_pretraining(np.array([concept]), np.array([colour]))[0]
        ]
    )
    names = tuple(
        f"{list(COLOURS)[colour]} {concepts()[concept].name}" for concept, colour in pairs
    )
    recipe = Recipe(_SHAPES, fonts.SEEN, SEEN_STYLES)
    return GlyphSet(
        names, recipe, lambda labels, _: {"concept": pairs[labels, 0], "colour": pairs[labels, 1]}
    )


def _in_turn(options: Sequence[Sequence[int]], labels: Ints, indices: Ints) -> Ints:
    """For each sample one of its label's options: the next one at each index of that label."""
    turns = indices // len(options)
    return np.array(
        [options[i][j % len(options[i])] for i, j in zip(labels, turns, strict=True)], np.int64
    )


def _in_unseen_fonts(kind: str) -> GlyphSet:
    return _of(indices_of(kind), fonts=fonts.UNSEEN)


ZERO_SHOT: dict[str, Callable[[], GlyphSet]] = {
    "capital-letters": lambda: _of(indices_of("capital letter")),
    "small-letters": lambda: _of(indices_of("small letter")),
    "numerals": lambda: _of(indices_of("digit")),
    "greek": lambda: _of(indices_of("greek letter")),
    "cyrillic": lambda: _of(indices_of("cyrillic letter")),
    "roman-numerals": lambda: _of(indices_of("roman numeral")),
    "fractions": lambda: _of(indices_of("fraction")),
    "chess": lambda: _of(indices_of("chess piece")),
    "dice": lambda: _of(indices_of("die")),
    "zodiac": lambda: _of(indices_of("zodiac sign")),
    "planets": lambda: _of(indices_of("planet sign")),
    "arrows": lambda: _of(indices_of("arrow")),
    "crosses": lambda: _of(indices_of("cross")),
    "stars": lambda: _of(indices_of("star")),
    "notes": lambda: _of(indices_of("note")),
    "currencies": lambda: _of(indices_of("currency sign")),
    "symbols": lambda: _of(indices_of("symbol")),
    "shapes": lambda: _of(_SHAPES),
    "coloured-shapes": _coloured_shapes,
    "colours": lambda: _about("colour", tuple(COLOURS), "a {} thing"),
    "grounds": _grounds,
    "papers": lambda: _about("paper", PAPERS, "a thing on {}"),
    "counts": lambda: _about(
        "count",
        tuple(f"{number} thing{'s' if number != 'one' else ''}" for number in NUMBERS),
        "a picture of {}",
        small=1.0,
        first=1,
    ),
    "positions": _positions,
    "kinds": _kinds,
    "unseen-fonts": lambda: _in_unseen_fonts("capital letter"),
    "unseen-styles": lambda: _of(indices_of("symbol"), styles=UNSEEN_STYLES),
}
"""The zero-shot sets: no image of theirs is one of pre-training's or of the fine-tuning set's."""

SETS: dict[str, Callable[[], GlyphSet]] = {
    TRAINING: lambda: _of(training_indices()),
    **ZERO_SHOT,
}


@dataclass(frozen=True)
class GlyphReader:
    """Reads a split's images, all of which are rendered when the first is asked for."""

    name: str
    split: str

    def __call__(self, index: int) -> Image.Image:
        """The image in mode RGB."""
        with _RENDERING:
            pixels = _pixels(self.name, self.split)
        return Image.fromarray(pixels[index])


_RENDERING = Lock()


@cache
def _pixels(name: str, split: str) -> NDArray[np.uint8]:
    """All images of a split, (n, SIDE, SIDE, 3): some thousands a second."""
    blocks = np.split(np.arange(SIZES[split]), SIZES[split] // _BLOCK)
    return np.concatenate([images_at(name, split, block) for block in blocks])


def images_at(name: str, split: str, indices: Ints) -> NDArray[np.uint8]:
    """The images (N, SIDE, SIDE, 3) of a set's split at any indices, 0 or more."""
    glyph_set = SETS[name]()
    key = stream("glyphs", name, split)
    labels = indices % len(glyph_set.class_names)
    scenes = draw_scenes(glyph_set.recipe, key, indices, **glyph_set.fix(labels, indices))
    return render(scenes, glyph_set.recipe.fonts, indices ^ np.int64(key & np.uint64(2**62 - 1)))


def glyph_set(name: str, split: str) -> ImageSet:
    """The ``train`` or ``test`` split of a set; class i has every C-th index from i.

    Raises:
        RequestError: if there is no such set.
    """
    if name not in SETS:
        raise RequestError(
            f"there is no drawn set {name!r}: write glyph:SET with one of {', '.join(SETS)}"
        )
    described = SETS[name]()
    count = SIZES[split]
    classes = len(described.class_names)
    return ImageSet(
        name="glyphs-training" if name == TRAINING else name,
        origin=f"glyph:{name}",
        split=split,
        class_names=described.class_names,
        sample_ids=tuple(str(index) for index in range(count)),
        labels=tuple(index % classes for index in range(count)),
        read_image=GlyphReader(name, split),
        native_size=SIDE,
        templates=described.templates,
    )
