"""The generated tables of the docs are those that are generated now."""

from pathlib import Path

import pytest
from scripts.docs.tables import PLACE, with_tables

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["data", "training"])
def test_a_page_is_up_to_date(page):
    text = (DOCS / f"{page}.md").read_text("utf-8")
    assert PLACE.search(text)
    # If not: python scripts/docs/tables.py
    assert with_tables(text) == text
