import re

import numpy as np
import pytest

from zsrobust.data.glyphs import fonts
from zsrobust.data.glyphs.captions import (
    ATTRIBUTES,
    KINDS,
    NUMBERS,
    OPENINGS,
    POSITIONS,
    Captions,
    describe,
    facts_of,
    name_things,
)
from zsrobust.data.glyphs.concepts import concepts
from zsrobust.data.glyphs.draws import stream, uniform
from zsrobust.data.glyphs.palette import COLOURS, PAPERS, SEEN_STYLES
from zsrobust.data.glyphs.scenes import Recipe, draw_scenes

N = 400
RECIPE = Recipe(tuple(range(len(concepts()))), fonts.SEEN, SEEN_STYLES, small=0.5, most=6)
SCENES = draw_scenes(RECIPE, stream("captions"), np.arange(N))
FACTS = facts_of(SCENES)
DRAWS = uniform(stream("captions", "words"), np.arange(N), 16)


def parsed(text: str) -> dict[str, int]:
    """What a caption says, read back from its words alone."""
    said: dict[str, int] = {}
    for opening in sorted(OPENINGS, key=len, reverse=True):
        if opening and text.startswith(opening):
            text = text.removeprefix(opening)
            break
    if found := re.search(r" on a (\w+) background$", text):
        said["ground"] = list(COLOURS).index(found[1])
    elif found := re.search(r" on (.+)$", text):
        said["paper"] = PAPERS.index(found[1])
    elif found := re.search(r" in the (.+)$", text):
        said["position"] = POSITIONS.index(found[1])
    text = text[: found.start()] if found else text
    if found := re.match(rf"({'|'.join(NUMBERS)}) (times |things?$)", text):
        said["count"] = NUMBERS.index(found[1]) + 1
        text = text[found.end() :]
    text = re.sub(r"^(a|the) ", "", text)
    names = [concept.name for concept in concepts()]
    if text not in names and (found := re.match(rf"({'|'.join(COLOURS)}) ", text)):
        said["colour"] = list(COLOURS).index(found[1])
        text = text[found.end() :]
    if text in names:
        said["concept"] = names.index(text)
    elif text in KINDS:
        said["kind"] = KINDS.index(text)
    else:
        assert text in ("thing", ""), text
    return said


@pytest.mark.slow
def test_captions_say_what_they_claim_and_claim_what_is_so() -> None:
    for make, draws in ((name_things, DRAWS[:, :8]), (describe, DRAWS[:, 8:])):
        captions = make(FACTS, draws)
        for row, text in enumerate(captions.texts):
            claimed = {
                attribute: value
                for attribute, value in zip(ATTRIBUTES, captions.claims[row], strict=True)
                if value >= 0
            }
            assert parsed(text) == claimed, text
            facts = dict(zip(ATTRIBUTES, FACTS[row], strict=True))
            assert all(facts[attribute] == value for attribute, value in claimed.items()), text


def test_truth_is_that_of_the_words() -> None:
    captions = name_things(FACTS[:40], DRAWS[:40, :8])
    others = describe(FACTS[:40], DRAWS[:40, 8:])
    both = Captions(captions.texts + others.texts, np.concatenate([captions.claims, others.claims]))
    true = both.true_of(FACTS)
    for column, text in enumerate(both.texts):
        said = parsed(text)
        for row in range(N):
            facts = dict(zip(ATTRIBUTES, FACTS[row], strict=True))
            assert true[row, column] == all(facts[key] == value for key, value in said.items())


def test_every_attribute_is_spoken_of() -> None:
    captions = describe(FACTS, DRAWS[:, 8:])
    assert ((captions.claims >= 0).sum(0)[1:] > 0).all()
    assert (name_things(FACTS, DRAWS[:, :8]).claims[:, 0] >= 0).all()


def test_facts_are_the_scenes() -> None:
    kinds = [concepts()[concept].kind for concept in SCENES.concept]
    assert [KINDS[kind] for kind in FACTS[:, 1]] == kinds
    placed = (SCENES.count == 1) & ~SCENES.large
    assert (FACTS[placed, 6] == SCENES.cells[placed, 0]).all()
    assert (FACTS[~placed, 6] == len(POSITIONS)).all()
    assert (SCENES.count[SCENES.large] == 1).all()
