"""MkDocs hook: a page of the site for each file of the repository that a page links to.

The site is therefore self-contained, and a link to a missing file fails the build.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<=\]\()[^)\s#:]+(?=[#)])")
FENCE = "~" * 12
LANGUAGES = {
    ".py": "python",
    ".md": "markdown",
    ".yaml": "yaml",
    ".toml": "toml",
    ".sbatch": "bash",
}
HIDDEN = "---\nsearch: {exclude: true}\nhide: [toc]\n---\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every linked file outside the documentation."""
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            target = repository_target(page.src_uri, link, Path(config.docs_dir))
            if target and address(target) not in files.src_uris:
                files.append(
                    File.generated(
                        config,
                        address(target),
                        content=HIDDEN + shown(target, Path(config.docs_dir)),
                        inclusion=InclusionLevel.NOT_IN_NAV,
                    )
                )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point these links to the added pages."""
    here = page.file.src_uri

    def replaced(found: re.Match[str]) -> str:
        target = repository_target(here, found[0], Path(config.docs_dir))
        return posixpath.relpath(address(target), posixpath.dirname(here)) if target else found[0]

    return LINK.sub(replaced, markdown)


def repository_target(page: str, link: str, docs: Path) -> Path | None:
    """The linked file outside ``docs`` or folder in it; None for other links."""
    target = Path(os.path.normpath(docs / posixpath.dirname(page) / link))
    inside = target.is_relative_to(docs)
    there = target.is_dir() if inside else target.is_file() and target.is_relative_to(ROOT)
    return target if there else None


def address(target: Path) -> str:
    """The source path of the page of a file or folder."""
    return f"repository/{target.relative_to(ROOT).as_posix()}.md"


def shown(target: Path, docs: Path) -> str:
    """The page's text: the cells of a notebook, the content of a file or the list of a folder."""
    title = f"# {target.relative_to(ROOT).as_posix()}\n\n"
    if target.is_dir():
        files = sorted(path for path in target.rglob("*") if path.is_file())
        return title + "\n".join(_entry(path, target, docs) for path in files)
    if target.suffix == ".ipynb":
        cells = json.loads(target.read_text("utf-8"))["cells"]
        return title + "\n\n".join(_cell(cell, target, docs) for cell in cells)
    return title + _fenced(target.read_text("utf-8"), LANGUAGES.get(target.suffix, "text"))


def _entry(path: Path, folder: Path, docs: Path) -> str:
    return f"- [{path.relative_to(folder).as_posix()}]({_from(folder, path, docs)})"


def _cell(cell: dict[str, Any], notebook: Path, docs: Path) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] != "markdown":
        return _fenced(text, "python")
    return LINK.sub(lambda link: _from(notebook, notebook.parent / link[0], docs), text)


def _from(whose: Path, target: Path, docs: Path) -> str:
    """The link to ``target``, a file of the documentation, on the page of ``whose``."""
    return os.path.relpath(target, docs / posixpath.dirname(address(whose)))


def _fenced(text: str, language: str) -> str:
    return f"{FENCE}{language}\n{text}\n{FENCE}"
