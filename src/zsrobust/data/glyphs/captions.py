"""Captions of scenes, and the attributes that each caption states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from zsrobust.data.glyphs.concepts import concepts
from zsrobust.data.glyphs.palette import COLOURS, PAPERS
from zsrobust.data.glyphs.scenes import Ints, Scenes

NUMBERS = ("one", "two", "three", "four", "five", "six")
POSITIONS = (
    *("top left", "top middle", "top right"),
    *("middle left", "middle", "middle right"),
    *("bottom left", "bottom middle", "bottom right"),
)
OPENINGS = ("", "a picture of ", "a photo of ", "this is a photo of ")
KINDS = tuple(dict.fromkeys(concept.kind for concept in concepts()))

ATTRIBUTES = ("concept", "kind", "colour", "ground", "paper", "count", "position")
_CONCEPT, _KIND, _COLOUR, _GROUND, _PAPER, _COUNT, _POSITION = range(len(ATTRIBUTES))
ANY = -1


@dataclass(frozen=True)
class Captions:
    """N captions and what they say.

    Attributes:
        texts: the captions.
        claims: (N, 7), by ``ATTRIBUTES`` the value that a caption claims, or ``ANY``.
    """

    texts: list[str]
    claims: Ints

    def true_of(self, facts: Ints) -> NDArray[np.bool_]:
        """Whether each caption is true of each of M scenes, (M, N); ``facts`` are ``facts_of``."""
        claims = self.claims[None]
        fits: NDArray[np.bool_] = ((claims == ANY) | (claims == facts[:, None])).all(-1)
        return fits


def facts_of(scenes: Scenes) -> Ints:
    """What is so of each scene, (N, 7), by ``ATTRIBUTES``; a large thing has no position."""
    kind_of = np.array([KINDS.index(concept.kind) for concept in concepts()])
    placed = ~scenes.large & (scenes.count == 1)
    return np.stack(
        [
            *(scenes.concept, kind_of[scenes.concept]),
            *(scenes.colour, scenes.ground, scenes.paper, scenes.count),
            np.where(placed, scenes.cells[:, 0], len(POSITIONS)),
        ],
        axis=1,
    )


def name_things(facts: Ints, draws: NDArray[np.float32]) -> Captions:
    """A caption for each scene that names its thing, at times with more; ``draws`` (N, 8)."""
    return _captions(facts, draws, _naming, OPENINGS)


def describe(facts: Ints, draws: NDArray[np.float32], stress: tuple[str, ...] = ()) -> Captions:
    """A caption for each scene that names no thing but an attribute of it; ``draws`` (N, 8).

    Attributes in ``stress`` are spoken of six times as often as others.
    """
    stressed = {ATTRIBUTES.index(attribute) for attribute in stress}
    # Few openings: the batch then has few such captions, and each is encoded once.
    return _captions(facts, draws, partial(_describing, stressed=stressed), OPENINGS[:2])


Say = Callable[[list[int], list[float]], tuple[str, list[int]]]
"""From facts and draws to a text and the attributes that it states."""


def _captions(
    facts: Ints, draws: NDArray[np.float32], say: Say, openings: tuple[str, ...]
) -> Captions:
    texts, claims = [], np.full_like(facts, ANY)
    for row, (fact, draw) in enumerate(zip(facts.tolist(), draws.tolist(), strict=True)):
        text, claimed = say(fact, draw)
        texts.append(openings[int(draw[0] * len(openings))] + text)
        claims[row, claimed] = facts[row, claimed]
    return Captions(texts, claims)


def _naming(fact: list[int], draw: list[float]) -> tuple[str, list[int]]:
    text, claimed = concepts()[fact[_CONCEPT]].name, [_CONCEPT]
    if draw[1] < 0.3:
        text = f"{list(COLOURS)[fact[_COLOUR]]} {text}"
        claimed.append(_COLOUR)
    if fact[_COUNT] > 1 and draw[2] < 0.4:
        text = f"{NUMBERS[fact[_COUNT] - 1]} times {text}"
        claimed.append(_COUNT)
    else:
        text = ("a ", "the ", "")[int(draw[3] * 3)] + text
    if draw[4] < 0.15:
        text += f" on a {list(COLOURS)[fact[_GROUND]]} background"
        claimed.append(_GROUND)
    elif draw[4] < 0.3:
        text += f" on {PAPERS[fact[_PAPER]]}"
        claimed.append(_PAPER)
    elif draw[4] < 0.45 and fact[_POSITION] < len(POSITIONS):
        text += f" in the {POSITIONS[fact[_POSITION]]}"
        claimed.append(_POSITION)
    return text, claimed


def _describing(fact: list[int], draw: list[float], stressed: set[int]) -> tuple[str, list[int]]:
    colour, kind = list(COLOURS)[fact[_COLOUR]], KINDS[fact[_KIND]]
    options = [
        (f"a {colour} thing", [_COLOUR]),
        (f"a thing on a {list(COLOURS)[fact[_GROUND]]} background", [_GROUND]),
        (f"a thing on {PAPERS[fact[_PAPER]]}", [_PAPER]),
        (f"{NUMBERS[fact[_COUNT] - 1]} thing{'s' if fact[_COUNT] > 1 else ''}", [_COUNT]),
        (f"a {kind}", [_KIND]),
        (f"a {colour} {kind}", [_COLOUR, _KIND]),
    ]
    if fact[_POSITION] < len(POSITIONS):
        options.append((f"a thing in the {POSITIONS[fact[_POSITION]]}", [_POSITION]))
    options += [option for option in options if stressed.intersection(option[1])] * 5
    return options[int(draw[1] * len(options))]
