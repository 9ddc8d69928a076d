"""The figures on the page of claims and in the README equal those of the replication."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIGURE = re.compile(r"[-+]?\d+\.\d \([-+\d.]+(?:-| to )[-+\d.]+\)")


@pytest.mark.parametrize(("page", "least"), [("docs/claims.md", 12), ("README.md", 10)])
def test_every_figure_with_an_interval_is_in_the_replication(page, least):
    text = (ROOT / page).read_text("utf-8")
    # The README begins with an example of its own.
    found = " ".join(text.partition("## Results")[2].split() or text.split())
    replication = "".join(page.read_text("utf-8") for page in DOCS.glob("replication*.md"))
    figures = FIGURE.findall(found)
    assert len(figures) >= least
    assert [figure for figure in figures if figure not in replication] == []
