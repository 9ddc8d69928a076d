"""The figures on the page of claims equal those of the replication."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
FIGURE = re.compile(r"[-+]?\d+\.\d \([-+\d.]+(?:-| to )[-+\d.]+\)")


def test_every_figure_with_an_interval_is_in_the_replication():
    claims = " ".join((DOCS / "claims.md").read_text("utf-8").split())
    replication = "".join(page.read_text("utf-8") for page in DOCS.glob("replication*.md"))
    figures = FIGURE.findall(claims)
    assert len(figures) >= 12
    assert [figure for figure in figures if figure not in replication] == []
