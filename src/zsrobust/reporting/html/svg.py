"""A figure as SVG that lives in a page: real text, colours of the page, names of its own."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from zsrobust.reporting.figures.style import FAINT

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


def svg_of(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as an ``<svg>`` element.

    Args:
        figure: the drawing.
        name: unique on the page; ids inside begin with it, so that figures do not share any.
        alt: what the figure shows, for whoever cannot see it.
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
