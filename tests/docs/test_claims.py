"""The page of claims names what is there and says what the replication says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLAIMS = (ROOT / "docs" / "claims.md").read_text("utf-8")
REPLICATION = (ROOT / "docs" / "replication.md").read_text("utf-8")
SECTIONS = re.split(r"^## ", CLAIMS, flags=re.MULTILINE)[1:]
FIGURE = re.compile(r"[-+]?\d+\.\d \([-+\d.]+(?:-| to )[-+\d.]+\)")


def test_every_sentence_of_the_abstract_is_there():
    quoted = " ".join(re.findall(r"^> (.+)$", CLAIMS, re.MULTILINE))
    assert len(re.findall(r'"[A-Z][^"]+\."', quoted)) == len(SECTIONS) == 7


# That links lead somewhere and commands parse is tested of every page.
@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.partition("\n")[0])
def test_a_claim_has_its_file_its_test_and_its_command(section):
    assert re.search(r"^- File: \[`src/zsrobust/\S+\.py`\]\(\.\./src/", section, re.MULTILINE)
    assert re.search(r"^- Test: \[`test_\w+`\]\(\.\./tests/", section, re.MULTILINE)
    assert re.search(r"```bash\n(?:[^`]*\n)?zsrobust ", section)
    names = re.findall(r"\[`((?:src|tests)/[^`]+)`\]\(\.\./([^)]+)\)", section)
    assert all(name == target for name, target in names)


def test_every_figure_with_an_interval_is_the_replication_s():
    found = FIGURE.findall(" ".join(CLAIMS.split()))
    assert len(found) >= 12
    assert [figure for figure in found if figure not in REPLICATION] == []
