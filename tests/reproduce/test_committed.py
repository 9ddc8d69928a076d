"""What the pages of the replications say is what the committed results say."""

import shutil
from pathlib import Path

import pytest

from zsrobust.reproduce.field import Field
from zsrobust.reproduce.run import reproduce
from zsrobust.reproduce.screened import Screened
from zsrobust.reproduce.searched import Searched
from zsrobust.reproduce.world import glyphs

DOCS = Path(__file__).parents[2] / "docs"
KINDS = {"glyphs": Searched, "methods": Field, "recipe": Screened}
PAGES = {"glyphs": "replication.md", "methods": "methods.md", "recipe": "recipe.md"}


@pytest.mark.parametrize("name", KINDS)
def test_every_table_of_the_page_is_made_from_the_committed_results(tmp_path, name):
    shutil.copytree(DOCS / "replication" / name / "results", tmp_path / name / "results")
    found = reproduce(KINDS[name](glyphs(), tmp_path / name), compute=False)
    rows = [line for line in found.text.splitlines() if line.startswith("| ")]
    page = (DOCS / PAGES[name]).read_text(encoding="utf-8")
    assert len(rows) > (30 if name == "glyphs" else 10)
    assert [row for row in rows if row not in page] == []
    assert (DOCS / "replication" / name / "tables.md").read_text("utf-8") == found.text
