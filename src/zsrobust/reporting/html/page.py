"""From blocks to one HTML file that asks for nothing, on any screen, in print and read aloud."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zsrobust._version import __version__
from zsrobust.reporting.html.blocks import Block
from zsrobust.reporting.html.svg import svg_of
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class Kind:
    """A kind of page; ``mark`` is how a later call knows a file of this kind as ours."""

    template: str
    mark: str


REPORT = Kind("report.html.jinja", "zsrobust report")
LEADERBOARD = Kind("leaderboard.html.jinja", "zsrobust leaderboard")


def rendered(kind: Kind, **values: Any) -> str:
    """The page; every word of ``values`` is escaped.

    Its policy lets a browser run our script alone, known by its hash, and fetch nothing at all.
    """
    files = resources.files("zsrobust.reporting.html") / "templates"
    style, script = ((files / name).read_text("utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        loader=PackageLoader("zsrobust.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(kind_of=_kind_of, svg_of=svg_of, version=__version__)
    return environment.get_template(kind.template).render(
        mark=kind.mark,
        style=Markup(style),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **values,
    )


def require_ours(path: Path, kind: Kind) -> None:
    """Refuse to write over a file that is no page of this kind.

    Raises:
        RequestError: if ``path`` is there and is something else.
    """
    if not path.exists():
        return
    try:
        start = path.read_bytes()[:2000].decode("utf-8", "replace")
    except OSError as error:
        raise RequestError(f"out {path} cannot be written: {error.strerror}") from None
    if f'<meta name="generator" content="{kind.mark} ' not in start:
        raise RequestError(f"out {path} is there and was not made by {kind.mark}: name another")


def _kind_of(block: Block) -> str:
    return type(block).__name__.lower()
