"""The table of fine-tuning methods, from the objectives' own classes and docstrings."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

PAGE, PLACE = "training.md", "<!-- methods -->"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str | None:
    """Put the table where the page has its place."""
    return markdown.replace(PLACE, table()) if page.file.src_uri == PAGE else None


def table() -> str:
    """A row for each method: name, title, first paragraph of the docstring, paper."""
    from zsrobust.objectives import OBJECTIVES

    lines = ["| `--method` | name | loss | paper |", "| --- | --- | --- | --- |"]
    for name, kind in sorted(OBJECTIVES.items()):
        loss = " ".join((kind.__doc__ or "").partition("\n\n")[0].replace("``", "`").split())
        paper = f"[{kind.arxiv}](https://arxiv.org/abs/{kind.arxiv})" if kind.arxiv else ""
        lines.append(f"| `{name}` | {kind.title} | {loss} | {paper} |")
    return "\n".join(lines)
