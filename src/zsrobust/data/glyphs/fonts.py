"""The fonts that matplotlib brings, and which of them pre-training never sees."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

from zsrobust.utils.errors import RequestError

SEEN = tuple(
    f"DejaVu{family}"
    for family in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique"),
        *("SansMono", "SansMono-Bold", "SansMono-Oblique", "SansMono-BoldOblique"),
        *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
    )
)
UNSEEN = (
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)


def folder() -> Path:
    """Where the fonts lie."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@cache
def font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """A font at a size.

    Raises:
        RequestError: if its file is absent or damaged.
    """
    file = folder() / f"{name}.ttf"
    try:
        return ImageFont.truetype(str(file), pixels, layout_engine=ImageFont.Layout.BASIC)
    except OSError as reason:
        raise RequestError(
            f"the drawn sets need the font {file}, which is missing or damaged ({reason}): "
            "install matplotlib again"
        ) from None


@cache
def characters(name: str) -> frozenset[int]:
    """The code points that a font has.

    Raises:
        RequestError: as ``font``.
    """
    from matplotlib.ft2font import FT2Font

    font(name, 16)
    return frozenset(FT2Font(str(folder() / f"{name}.ttf")).get_charmap())
