"""The figure of the README shows the numbers of the replication's tables."""

from pathlib import Path

from scripts.docs.picture import METHODS, picture

ROOT = Path(__file__).parents[2]


def test_numbers_equal_the_tables():
    pages = [ROOT / "docs" / f"replication_{name}.md" for name in ("glyphs", "photos")]
    panels = picture().axes
    assert len(panels) == 2
    attacks = ("pgd-10 4/255", "pgd-10 1/255")
    for axes, page, attack in zip(panels, pages, attacks, strict=True):
        figures = [text.get_text() for text in axes.texts]
        titles = ["original", "FT-Clean", "TeCoA", "PMG-AFT (authors_code)"]
        assert len(figures) == 2 * len(titles) == 2 * len(METHODS)
        table = (
            page.read_text("utf-8").partition(f"| n | clean | {attack} |")[2].partition("\n\n")[0]
        )
        for title, clean, robust in zip(titles, figures[::2], figures[1::2], strict=True):
            (row,) = [line for line in table.splitlines() if line.startswith(f"| {title} |")]
            assert f"| {clean} (" in row
            assert f"| {robust} (" in row
