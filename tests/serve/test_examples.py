import pytest

from zsrobust.demo.examples import CLASS_NAMES, PHOTOGRAPHS
from zsrobust.serve import examples
from zsrobust.serve.comparison import clean_predictions
from zsrobust.serve.picture import Picture


def test_drawings_are_classified_correctly_by_the_embedded_model(served):
    glyph_clip = served[0]
    found = examples.examples([glyph_clip])
    # The photographs' names are unknown to it, and the same to it.
    assert len(found) == len(examples.GLYPHS)
    for one in found:
        predictions = clean_predictions(
            Picture(one.image, "example"), one.class_names, [glyph_clip]
        )
        assert predictions["glyph-clip"].top == one.shows


def test_photographs_come_first_where_a_model_reads_their_names(served):
    pytest.importorskip("skimage")
    found = examples.examples(served)
    photographs, drawings = found[: len(PHOTOGRAPHS)], found[len(PHOTOGRAPHS) :]
    assert [one.shows for one in photographs] == list(PHOTOGRAPHS.values())
    assert all(one.class_names == CLASS_NAMES for one in photographs)
    # The drawings are for the model that reads those alone.
    assert len(drawings) == len(examples.GLYPHS)
    assert len(examples.examples(served[1:])) == len(PHOTOGRAPHS)


def test_photographs_that_are_not_installed_are_left_out(served, monkeypatch):
    here = "sklearn/datasets/images/flower.jpg"
    files = {"no_such_package/cat.png": "cat", here: "flower"}
    monkeypatch.setattr("zsrobust.demo.examples.PHOTOGRAPHS", files)
    (flower,) = examples.examples(served[1:])
    assert flower.shows == "flower"
    monkeypatch.setattr("zsrobust.demo.examples.PHOTOGRAPHS", {"no_such_package/cat.png": "cat"})
    assert len(examples.examples(served[1:])) == len(examples.GLYPHS)
