import pytest

from zsrobust.models.name_forms import read_form
from zsrobust.utils.errors import RequestError

READERS = {"eps": float, "steps": int}


@pytest.mark.parametrize(
    ("name", "word", "arguments", "options"),
    [
        ("ttc(glyph-clip)", "ttc", ("glyph-clip",), {}),
        ("ttc( runs/a , eps = 4/255,steps=2)", "ttc", ("runs/a",), {"eps": "4/255", "steps": "2"}),
        ("wise(runs/a, 0.5)", "wise", ("runs/a", "0.5"), {}),
        ("ttc(wise(runs/a, 0.5), tau=1)", "ttc", ("wise(runs/a, 0.5)",), {"tau": "1"}),
        ("ttc(local-dir:/a (1)/lr=1)", "ttc", ("local-dir:/a (1)/lr=1",), {}),
    ],
)
def test_a_form_is_taken_apart(name, word, arguments, options):
    form = read_form(name)
    assert (form.word, form.arguments, form.options) == (word, arguments, options)
    assert form.name == name


@pytest.mark.parametrize("name", ["glyph-clip", "runs/ttc(a)", "ttc(a)/model", "ViT-B-32/openai"])
def test_other_names_are_no_forms(name):
    assert read_form(name) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ttc()", "names no model: write ttc\\(MODEL\\)"),
        ("ttc(eps=1)", "names no model"),
        ("ttc(a, )", "names no model"),
        ("ttc(eps=1, a)", "'a' must be written KEY=VALUE"),
        ("ttc(a, eps=1, eps=2)", "eps is given twice"),
    ],
)
def test_what_a_form_cannot_be(name, message):
    with pytest.raises(RequestError, match=message):
        read_form(name)


def test_options_are_read_by_their_key():
    assert read_form("ttc(a, steps=3, eps=0.5)").read_options(READERS) == {"steps": 3, "eps": 0.5}
    with pytest.raises(RequestError, match="ttc has no option 'ep': choose from eps, steps"):
        read_form("ttc(a, ep=1)").read_options(READERS)
    with pytest.raises(RequestError, match=r"steps is '2\.5': must be a whole number"):
        read_form("ttc(a, steps=2.5)").read_options(READERS)
    with pytest.raises(RequestError, match="eps is 'x': must be a number"):
        read_form("ttc(a, eps=x)").read_options(READERS)


def test_a_form_of_one_model_takes_one():
    assert read_form("ttc(a, eps=1)").model == "a"
    with pytest.raises(RequestError, match=r"2 arguments: ttc takes one model"):
        _ = read_form("ttc(a, 0.5)").model
