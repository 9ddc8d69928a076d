"""Links within the repository lead somewhere: to a file, a heading, a test of that name."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[(?P<words>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(page):
    """The anchors that a page's headings get, on the site and where repositories are shown."""
    found = re.findall(r"^#+ (.+)$", without_code(page.read_text("utf-8")), re.MULTILINE)
    plain = [LINK.sub(lambda link: link["words"], text) for text in found]
    return [re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text in plain]


def links():
    for page in PAGES:
        for link in LINK.finditer(without_code(page.read_text("utf-8"))):
            if not re.match(r"[a-z]+:", link["target"]):
                yield pytest.param(page, link["words"], link["target"], id=f"{page.name} {link[2]}")


def test_pages_have_links():
    assert len(list(links())) > 80


@pytest.mark.parametrize(("page", "words", "target"), list(links()))
def test_a_link_leads_somewhere(page, words, target):
    path, _, anchor = target.partition("#")
    led = Path(os.path.normpath(page.parent / path)) if path else page
    assert led.is_relative_to(ROOT)
    assert led.exists()
    if anchor:
        assert anchor in headings(led)
    if re.fullmatch(r"`test_\w+`", words):
        assert f"def {words.strip('`')}(" in led.read_text("utf-8")


def test_a_heading_s_anchor():
    found = headings(ROOT / "docs" / "fidelity.md")
    assert "pmg-aft-pmg_aft-240104350" in found
    assert "ttc-ttcmodel-at-test-time-250303613" in found
