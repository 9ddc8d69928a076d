"""The generated tables of the docs are those that are generated now."""

import re
from pathlib import Path

import pytest
from scripts.docs.tables import PLACE, with_tables

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["attacks", "data", "defences", "models", "paper", "training"])
def test_a_page_is_up_to_date(page):
    text = (DOCS / f"{page}.md").read_text("utf-8")
    assert PLACE.search(text)
    # If not: python scripts/docs/tables.py
    assert with_tables(text) == text


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_rows_of_a_table_have_as_many_cells_as_its_head(page):
    # As GitHub counts them: a pipe ends a cell within a code span, too, unless it is escaped.
    without_code = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.M)
    for table in re.findall(r"(?:^\|.*\n)+", without_code, re.M):
        head, *rows = (len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines())
        assert set(rows) == {head}, table
