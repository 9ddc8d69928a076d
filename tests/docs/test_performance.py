"""Every table of the page on performance is made of the results beside it."""

import json
from pathlib import Path

import pytest
from benchmarks.tables import markdown

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = sorted((DOCS / "performance").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_its_table_is_on_the_page(path):
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert markdown(json.loads(path.read_text(encoding="utf-8"))["rows"]) in page


def test_all_benchmarks_are_there():
    assert {path.stem.partition("-cpu")[0] for path in RESULTS} >= {
        *("fine-tuning-25", "fine-tuning-125", "ladder", "trials"),
        *("pgd", "autoattack", "scaling"),
    }
