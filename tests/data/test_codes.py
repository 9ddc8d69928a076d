import re

import pytest

from zsrobust.data.names.codes import code_notes
from zsrobust.utils.errors import RequestError


@pytest.mark.parametrize("names", [("0", "1"), ("00", "07", "12"), ("0.0", "1.0"), ("-1", "+1")])
def test_numbers_are_refused_unless_they_were_chosen(names) -> None:
    with pytest.raises(RequestError, match=r"SET are numbers .*names=FILE"):
        code_notes(names, "SET", chosen=False)
    assert code_notes(names, "SET", chosen=True) == ()


@pytest.mark.parametrize("chosen", [False, True])
def test_wordnet_ids_are_refused_and_who_knows_them_is_said(chosen: bool) -> None:
    for wnids, known in [
        (("n01443537", "n02124075"), "tiny-imagenet:FOLDER"),
        (("n01440764", "n02124075"), " imagenet:FOLDER"),
    ]:
        with pytest.raises(RequestError, match=f"WordNet ids.*{known}.*names=FILE"):
            code_notes(wnids, "SET", chosen=chosen)
    with pytest.raises(RequestError, match="WordNet ids") as caught:
        code_notes(("n00000001", "n02124075"), "SET", chosen=chosen)
    assert "imagenet" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("001.black footed albatross", "002.laysan albatross"), "001"),
        (("017.cardinal", "045.fulmar"), "017"),
        (("0 cat", "1 dog", "2 emu"), "0"),
        (("n02124075 egyptian cat", "n01443537 goldfish"), "n02124075"),
        (("cat 1", "dog 2"), "cat 1"),
        (("cat001", "dog002"), "cat001"),
        (tuple(f"c{label}" for label in range(10)), "c0, c1, c2, ..."),
        (("s2", "s1"), "s2, s1"),
        (("q146", "q144"), "q146, q144"),
        (("class 0", "class 1"), "class 0, class 1"),
        (("label3", "label5"), "label3, label5"),
        (("id 17", "id 18"), "id 17"),
        (("d41d8cd98f00b204", "e3b0c44298fc1c14"), "d41d8cd98f00b204"),
        (("cat", "550e8400 e29b 41d4 a716 446655440000"), "550e8400"),
        (("m 0k4j", "m 01g317"), "m 0k4j"),
        (("cat", "macosx", "dog"), "1 of the 3 class names .*macosx"),
        (("cat", "dog", "7"), "1 of the 3 class names .*7"),
        (("cat", "n02124075"), "1 of the 2 class names .*n02124075"),
    ],
)
def test_codes_are_told_in_a_sentence(names, shown: str) -> None:
    (note,) = code_notes(names, "SET", chosen=False)
    assert note.count("SET") == 1
    assert "names=FILE" in note
    assert re.search(shown, note), note


@pytest.mark.parametrize(
    "names",
    [
        ("boeing 737", "b 52", "c 130", "2012 Tesla Model S", "100 dollars", "7 up"),
        ("boeing 737", "boeing 747"),
        ("707 320", "727 200"),
        ("b52", "f16"),
        ("f14", "f15", "f16"),
        ("audi q7", "audi q5"),
        ("2012 tesla model s", "2008 audi tt"),
        ("tesla model s 2012", "audi tt 2008"),
        ("100 dollars", "50 dollars"),
        ("1 person", "2 people", "3 people"),
        ("road sign 30", "road sign 50"),
        ("iphone 1", "iphone 2"),
        ("grade 0", "grade 1", "grade 2"),
        ("formula 1", "formula 2", "moto 3"),
        ("windows 7", "windows 10"),
        ("3d printer", "mp3 player"),
        ("decade", "facade", "cafe"),
        ("zero", "one"),
        ("cat",),
        (),
    ],
)
@pytest.mark.parametrize("chosen", [False, True])
def test_names_with_numbers_in_them_raise_no_alarm(names, chosen: bool) -> None:
    assert code_notes(names, "SET", chosen=chosen) == ()
