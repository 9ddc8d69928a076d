import pytest

from zsrobust.objectives import OBJECTIVES
from zsrobust.reporting.figures.style import styles
from zsrobust.reporting.names import method_title


def test_every_method_has_its_own_style() -> None:
    methods = ["original", *OBJECTIVES, "pmg_aft[ttc]", "pmg_aft[authors_code]"]
    assert len(set(styles(methods))) == len(methods)


def test_the_eight_systems_of_a_replication_have_a_colour_each() -> None:
    presets = ("paper, images=clean", "paper", "authors_code", "authors_first_revision", "ttc")
    methods = ["original", "ft_clean", "tecoa", *(f"pmg_aft[{one}]" for one in presets)]
    assert len({style.colour for style in styles(methods)}) == len(methods) == 8


@pytest.mark.parametrize(
    ("method", "title"),
    [
        ("pmg_aft[paper]", "PMG-AFT"),
        ("pmg_aft[paper, alpha=0]", "PMG-AFT[paper, alpha=0]"),
        ("comp_tga[authors_code]", "Comp-TGA[authors_code]"),
        ("original", "original"),
    ],
)
def test_methods_are_called_as_papers_call_them(method: str, title: str) -> None:
    assert method_title(method) == title
