"""From blocks and figures to one HTML file that loads nothing else, on any screen and in print."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from zsrobust._version import __version__
from zsrobust.reporting.figures.style import FAINT
from zsrobust.reporting.html.blocks import Block
from zsrobust.utils.errors import RequestError

_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# The neutral colours of the figures; those of series are seen on light and on dark paper.
_OF_PAGE = {
    "#000000": "var(--ink)",
    "#ffffff": "var(--paper)",
    FAINT: "var(--rule)",
    "#f5f5f5": "var(--stripe)",
    "#808080": "var(--soft)",
    "#595959": "var(--soft)",
}
_COLOUR = re.compile("|".join(_OF_PAGE), re.IGNORECASE)
# After _, / and : of a name, and before what it has in brackets; no entity of HTML holds such a
# place.
_MARKS = re.compile(r"(?<=\w[_/:])(?=[A-Za-z])|(?<=\w)(?=[\[(])")


def svg_of(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        figure: the drawing.
        name: unique on the page; ids inside begin with it, so that figures do not share any.
        alt: what the figure shows, for readers who cannot see it.
    """
    text = io.BytesIO()
    # Text as text: it is sharp at any size, and as small as its letters.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "zsrobust"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    # Everything has found its place: further files of the figure need not look for it again.
    figure.set_layout_engine("none")
    root = ElementTree.fromstring(text.getvalue())
    for parent in root.iter():
        for child in list(parent):
            # A style sheet in an SVG of a page would hold for the whole page.
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _adapted(key, value, name))
    for key in ("width", "height"):
        del root.attrib[key]
    root.set("style", "fill: var(--ink); stroke-linejoin: round; stroke-linecap: butt")
    root.set("role", "img")
    root.set("aria-label", alt)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    # All that came from outside is text and attributes, which the writer escapes.
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _adapted(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{_LINK}}}href":
        return value.replace("#", f"#{name}-", 1)
    value = value.replace("url(#", f"url(#{name}-")
    if key in ("style", "fill", "stroke"):
        return _COLOUR.sub(lambda found: _OF_PAGE[found[0].lower()], value)
    return value


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
    environment.filters["breakable"] = breakable
    environment.globals.update(kind_of=_kind_of, svg_of=svg_of, version=__version__)
    return environment.get_template(kind.template).render(
        mark=kind.mark,
        style=Markup(style),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        **values,
    )


def breakable(text: str) -> Markup:
    """``text``, escaped, whose long names may be broken into lines at their marks alone."""
    return Markup(_MARKS.sub("<wbr>", str(escape(text))))


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
