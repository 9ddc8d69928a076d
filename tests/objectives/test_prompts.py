"""The texts that objectives ask for besides the classifier's own."""

import json

import pytest

from zsrobust.objectives import OBJECTIVES, SAFT, CompTGA
from zsrobust.utils.errors import RequestError

NAMES = ("cat", "Tabby dog")


def test_most_objectives_ask_for_none():
    asking = {name for name, kind in OBJECTIVES.items() if kind().prompts(NAMES)}
    assert asking == {"comp_tga", "saft"}


def test_comp_tga_negates_every_class():
    assert CompTGA().prompts(NAMES) == (
        ("This is not a photo of a cat", "This is not a photo of a Tabby dog"),
    )


def test_saft_puts_names_in_plain_prompts():
    assert SAFT(plain=["a {}", "the {} here"]).prompts(NAMES) == (
        ("a cat", "a Tabby dog"),
        ("the cat here", "the Tabby dog here"),
    )


@pytest.mark.parametrize("extra", [{}, {"bird": ["It flies.", "It sings.", "It eats."]}])
def test_saft_takes_the_kth_description_of_each_class(tmp_path, extra):
    path = tmp_path / "said.json"
    said = {"tabby dog": ["It barks.", "Striped."], "cat": ["It purrs.", "A {} with fur."], **extra}
    path.write_text(json.dumps(said))
    assert SAFT(descriptions=str(path)).prompts(NAMES) == (
        ("It purrs.", "It barks."),
        ("A {} with fur.", "Striped."),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as YAML or JSON: "),
        ("{", "cannot be read as YAML or JSON: "),
        ("- cat", "must hold class names, each with a list of sentences"),
        ("cat: [It purrs.]", "lacks 1 of the 2 classes, first 'Tabby dog'"),
        ("{cat: [One.], Tabby dog: Two.}", "must hold a list of sentences for 'Tabby dog'"),
        ("{cat: One., Tabby dog: [Two.]}", "must hold a list of sentences for 'cat'"),
        ("{cat: [], Tabby dog: []}", "must hold a list of sentences for 'cat'"),
        ("{cat: [1], Tabby dog: [Two.]}", "must hold a list of sentences for 'cat'"),
        (
            "{cat: [One.], Tabby dog: [Two., Three.]}",
            "describes 'cat' 1 times and 'Tabby dog' 2 times: give every class as many",
        ),
    ],
)
def test_bad_descriptions_are_refused(tmp_path, content, message):
    path = tmp_path / "said.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RequestError) as refused:
        SAFT(descriptions=str(path)).prompts(NAMES)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)
