"""The tables of the page on performance equal the committed results."""

import json
from pathlib import Path

import pytest
from benchmarks.report import markdown

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = sorted((DOCS / "performance").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_table_on_the_page(path):
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    assert markdown(json.loads(path.read_text(encoding="utf-8"))["rows"]) in page


def test_every_benchmark_has_results():
    assert {path.stem.partition("-cpu")[0] for path in RESULTS} >= {
        *("fine-tuning-25", "fine-tuning-125", "ablation", "optimizations"),
        *("pgd", "autoattack", "scaling"),
    }
