"""Links within the repository lead to a file, a heading or a test of that name."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def without_code(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, on the site and on GitHub, and of mkdocstrings' objects."""
    content = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", without_code(content), re.MULTILINE)
    plain = [LINK.sub(lambda link: link["text"], text) for text in headings]
    slugs = [re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text).strip().lower()) for text in plain]
    return [*slugs, *re.findall(r"^::: (\S+)$", content, re.MULTILINE)]


def leads_somewhere(page, text, target):
    path, _, anchor = target.partition("#")
    file = Path(os.path.normpath(page.parent / path)) if path else page
    if not (file.is_relative_to(ROOT) and file.exists()):
        return False
    if anchor and anchor not in anchors(file):
        return False
    is_test = re.fullmatch(r"`test_\w+`", text)
    return not is_test or f"def {text.strip('`')}(" in file.read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    links = [link.groups() for link in LINK.finditer(without_code(page.read_text("utf-8")))]
    local = [link for link in links if not re.match(r"[a-z]+:", link[1])]
    assert [link for link in local if not leads_somewhere(page, *link)] == []
