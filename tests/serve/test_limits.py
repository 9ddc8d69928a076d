import re

import pytest

from zsrobust.serve.limits import Limits
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps


def test_class_names_stand_on_lines_or_between_commas():
    read = Limits().read_class_names
    assert read(" cat , dog\n\n  grey\tparrot\n") == ("cat", "dog", "grey parrot")
    assert read("katze,狗") == ("katze", "狗")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least two class names"),
        (None, "at least two class names"),
        ("cat,,", "at least two class names"),
        ("a,b,c,d,e", "5 class names are too many: give at most 4"),
        ("cat,abcdefghijk", "has 11 characters: give at most 10"),
        ("cat, dog, cat", "'cat' is given twice"),
        ("cat,d\x1bg", "control character"),
    ],
)
def test_other_class_names_are_refused(text, message):
    with pytest.raises(RequestError, match=re.escape(message)):
        Limits(classes=4, letters=10).read_class_names(text)


def test_eps_is_a_fraction_up_to_the_most():
    limits = Limits()
    assert limits.read_eps(" 4/255 ") == Eps("4/255")
    assert limits.read_eps("16/255") == limits.eps
    assert limits.read_eps(0) == 0
    for wrong in ("17/255", "1", "-1/255", "many", "", None, "nan", "1/0"):
        with pytest.raises(RequestError, match=r"eps|must be|is not a number"):
            limits.read_eps(wrong)


def test_steps_are_whole_and_not_too_many():
    limits = Limits()
    assert limits.read_steps(1) == 1
    assert limits.read_steps(200.0) == 200
    for wrong in (0, 201, 1.5, "20", True, None, float("nan"), float("inf")):
        with pytest.raises(RequestError, match="steps is"):
            limits.read_steps(wrong)


def test_a_refusal_names_what_was_typed():
    with pytest.raises(RequestError, match="eps 8 is too large: give at most 16/255"):
        Limits().read_eps("8")
    with pytest.raises(RequestError, match=r"at most 16/255$"):
        Limits().read_eps("0.1")  # of levels there is no tenth
    with pytest.raises(RequestError, match="steps is empty"):
        Limits().read_steps(None)


def test_a_target_is_one_of_the_names_or_none():
    read = Limits().read_target
    assert read(" dog ", ("cat", "dog")) == 1
    assert read("", ("cat", "dog")) is None
    assert read(None, ("cat", "dog")) is None
    with pytest.raises(RequestError, match="'cow' is not among the class names"):
        read("cow", ("cat", "dog"))
