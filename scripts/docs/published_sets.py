"""The tables of published data sets on the page, from ``sets.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

PAGE = "data.md"
HEADINGS = ("set", "images by split", "classes", "prompt", "attacked at", "download", "licence")
HEADINGS += ("source", "got by")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str | None:
    """Put the table of each group in the place of its comment."""
    if page.file.src_uri != PAGE:
        return None
    return re.sub(r"<!-- published sets: (\w+) -->", lambda found: table(found[1]), markdown)


def table(group: str) -> str:
    """The sets of a group of ``sets.yaml``, and the remarks on them."""
    from zsrobust.data.published.sets import PublishedSet, published_groups

    def cells(known: PublishedSet) -> Iterable[str]:
        splits = [
            f"**{split} {n:,}**" if split == known.test else f"{split} {n:,}"
            for split, n in known.counts.items()
        ]
        yield f"`{known.kind}`"
        yield ", ".join(splits) + (" (train and test ours)" if known.own_split else "")
        yield f"{known.classes:,}"
        yield known.paper_template or "This is a photo of a {}"
        yield str(known.native or "after resize")
        yield f"{known.gigabytes:g} GB" if known.gigabytes else "not known"
        yield known.licence
        yield f"<{known.source.partition(' ')[0]}>"
        yield "account" if known.account else "by hand" if known.steps else "`prepare`"

    sets = published_groups()[group].values()
    lines = [HEADINGS, ["---"] * len(HEADINGS), *map(cells, sets)]
    remarks = [f"- `{known.kind}`: {known.note}" for known in sets if known.note]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([rows, "", *remarks])
