from pathlib import Path

import pytest

from zsrobust.data.published.prompts import PROMPTS, templates
from zsrobust.data.published.sets import published_sets

PAGE = Path(__file__).parents[3] / "docs/data.md"


@pytest.mark.parametrize("known", published_sets().values(), ids=list(published_sets()))
def test_the_page_says_what_the_table_says(known) -> None:
    text = PAGE.read_text("utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{known.kind}` |")]
    _, _, splits, classes, prompt, pixels, size, licence, source, got, _ = row.split("|")
    for split, n in known.counts.items():
        bold = "**" if split == known.test else ""
        assert f"{bold}{split} {n:,}{bold}" in splits
    assert ("ours" in splits) == known.own_split
    assert int(classes.replace(",", "")) == known.classes
    expected = (templates("paper", known.kind) or ("This is a photo of a {}",))[0]
    assert prompt.strip() == expected
    assert pixels.strip() == (str(known.native) if known.native else "after resize")
    assert size.strip() == (f"{known.gigabytes:g} GB" if known.gigabytes else "not known")
    assert licence.strip() == known.licence
    assert source.strip("< >") in known.source
    assert got.strip() == (
        "account" if known.account else "by hand" if known.steps else "`prepare`"
    )
    if known.note:
        assert f"- `{known.kind}`: {known.note}" in text


def test_the_page_describes_every_preset() -> None:
    for preset in PROMPTS:
        assert f"| `{preset}`" in PAGE.read_text("utf-8")
