"""The page on performance shows or links the committed results, its tables as they are."""

import json
from pathlib import Path

import pytest
from benchmarks.report import markdown

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = sorted((DOCS / "performance").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_the_page_has_the_table_or_a_link(path):
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    table = markdown(json.loads(path.read_text(encoding="utf-8"))["rows"])
    assert table in page or f"](performance/{path.name})" in page
    # No table of other numbers.
    assert (table.partition("\n")[0] in page) == (table in page)


def test_every_benchmark_has_results():
    assert {path.stem.partition("-cpu")[0] for path in RESULTS} >= {
        *("fine-tuning-25", "fine-tuning-125", "ablation", "optimizations"),
        *("pgd", "autoattack", "scaling", "busy"),
    }
