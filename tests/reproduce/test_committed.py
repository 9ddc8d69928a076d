"""What docs/replication.md says is what the results beside it say."""

import shutil
from pathlib import Path

from zsrobust.reproduce.run import reproduce
from zsrobust.reproduce.searched import Searched
from zsrobust.reproduce.world import glyphs

DOCS = Path(__file__).parents[2] / "docs"


def test_every_table_of_the_page_is_made_from_the_committed_results(tmp_path):
    shutil.copytree(DOCS / "replication" / "glyphs" / "results", tmp_path / "glyphs" / "results")
    found = reproduce(Searched(glyphs(), tmp_path / "glyphs"), compute=False)
    rows = [line for line in found.text.splitlines() if line.startswith("| ")]
    page = (DOCS / "replication.md").read_text(encoding="utf-8")
    assert len(rows) > 30
    assert [row for row in rows if row not in page] == []
    assert (DOCS / "replication" / "glyphs" / "tables.md").read_text("utf-8") == found.text
