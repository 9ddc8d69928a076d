import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.data.glyphs import fonts
from zsrobust.data.glyphs.captions import describe, facts_of, name_things
from zsrobust.data.glyphs.concepts import concepts
from zsrobust.data.glyphs.draws import stream, uniform
from zsrobust.data.glyphs.palette import SEEN_STYLES
from zsrobust.data.glyphs.scenes import Recipe, draw_scenes
from zsrobust.data.glyphs.sets import SETS
from zsrobust.models.glyph_clip import CONTEXT_LENGTH, Tokenizer, shipped_vocabulary

VOCABULARY = shipped_vocabulary()
TOKENIZE = Tokenizer(VOCABULARY)


def words(text: str) -> list[int]:
    """The rows between start and end."""
    row = TOKENIZE([text])[0].tolist()
    assert row[0] == VOCABULARY.size - 2
    end = row.index(VOCABULARY.size - 1)
    assert all(token == 0 for token in row[end + 1 :])
    return row[1:end]


def test_every_caption_is_in_known_words() -> None:
    recipe = Recipe(tuple(range(len(concepts()))), fonts.SEEN, SEEN_STYLES, small=0.5, most=6)
    facts = facts_of(draw_scenes(recipe, stream("words"), np.arange(3000)))
    draws = uniform(stream("words"), np.arange(3000), 16)
    texts = name_things(facts, draws[:, :8]).texts + describe(facts, draws[:, 8:]).texts
    assert not (TOKENIZE(texts) == VOCABULARY.unknown).any()


def test_every_prompt_of_the_suite_is_in_known_words() -> None:
    for make in SETS.values():
        made = make()
        for template in made.templates:
            prompts = [template.replace("{}", name) for name in made.class_names]
            tokens = TOKENIZE(prompts)
            assert not (tokens == VOCABULARY.unknown).any()
            assert len(torch.unique(tokens, dim=0)) == len(prompts)


def test_words_that_no_caption_has_are_one_and_the_same() -> None:
    assert words("elephant") == [VOCABULARY.unknown]
    assert words("a red elephant") == words("a red locomotive")
    assert words("a red elephant") != words("a red crescent")


def test_upper_case_and_spaces_do_not_matter() -> None:
    assert words("A  Red CIRCLE ") == words("a red circle")


@given(st.text(max_size=200))
def test_any_text_gives_rows_that_exist(text: str) -> None:
    tokens = TOKENIZE([text])
    assert tokens.shape == (1, CONTEXT_LENGTH)
    assert tokens.min() >= 0
    assert tokens.max() == VOCABULARY.size - 1
    # The text tower reads its output there, and must find it once.
    assert (tokens == VOCABULARY.size - 1).sum() == 1
