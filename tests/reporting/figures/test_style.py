import pytest

from zsrobust.objectives import OBJECTIVES
from zsrobust.reporting.figures.style import looks, method_words


def test_every_method_can_be_told_from_every_other() -> None:
    methods = ["original", *OBJECTIVES, "pmg_aft[ttc]", "pmg_aft[authors_code]"]
    assert len(set(looks(methods))) == len(methods)


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("pmg_aft[paper]", "PMG-AFT"),
        ("pmg_aft[paper, alpha=0]", "PMG-AFT[paper, alpha=0]"),
        ("comp_tga[authors_code]", "Comp-TGA[authors_code]"),
        ("original", "original"),
    ],
)
def test_methods_are_called_as_papers_call_them(method: str, words: str) -> None:
    assert method_words(method) == words
