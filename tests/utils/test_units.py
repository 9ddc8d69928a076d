import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps


def test_written_forms():
    assert Eps("1/255") == 1 / 255
    assert Eps(" 8 / 255 ") == 8 / 255
    assert Eps("0.0039") == 0.0039
    assert Eps(0) == 0
    assert str(Eps(4 / 255)) == "4/255"
    assert str(Eps("0.5/255")) == "0.5/255"
    assert str(Eps(0.1234)) == "0.1234"


@given(st.floats(0, 3))
def test_what_is_shown_reads_back(value):
    assert Eps(str(Eps(value))) == pytest.approx(value, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(
    "wrong", ["", "1/0", "1/2/3", "eps", "-1/255", "nan", "inf", None, "1e999"]
)
def test_anything_else_is_refused(wrong):
    with pytest.raises(RequestError, match="write 1/255 or"):
        Eps(wrong)
