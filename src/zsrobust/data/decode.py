"""Any stored image as 8-bit RGB, the same way everywhere."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from PIL import Image

from zsrobust.data.readers import FILTERS

DECODING = 2
"""Raised where the pixels that a file gives change, so that no older cached ones are used."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274
# By the EXIF orientation: how the stored pixels are turned to be upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Formats in which a grey image that Pillow holds in 32 bits has 16.
_SIXTEEN_BITS = frozenset({"PNG", "PPM", "JPEG2000"})

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` of any Pillow mode in mode RGB, upright.

    The EXIF orientation is applied. Transparency is laid on white. Grey of 16 bits (modes
    ``I;16``) is 0 to 65535. Grey of 32 bits (mode ``I``) has no standard range: it is taken as 0
    to 255 where no value is larger, and as 0 to 65535 where values pass 4095. Grey in floating
    point (mode ``F``) is taken as 0 to 1, and as 0 to 255 where values pass 16. Of a file of
    several images it is the first.

    Raises:
        ValueError: if values of 32 bits or of floating point are in no such range, or are nan or
            infinite.
    """
    image.load()
    return _upright(_coloured(image), image)


def _coloured(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        levels = np.rint(values * (255 / _white(image, values)))
        # Pillow turns "white is zero" over in 8 bits alone.
        if _tag(image, _PHOTOMETRIC) == 0:
            levels = 255 - levels
        return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _white(image: Image.Image, values: Values) -> float:
    """The value of white, where black is 0."""
    if image.mode.startswith("I;16"):
        return float(2 ** (_tag(image, _BITS_PER_SAMPLE) or 16) - 1)
    if image.mode == "I" and image.format in _SIXTEEN_BITS:
        return 65535.0
    if not np.isfinite(values).all():
        raise ValueError("it holds pixels that are nan or infinite")
    low, high = values.min(), values.max()
    # (white, the lowest value that the lightest pixel may have)
    ranges = ((255, 0), (65535, 4096)) if image.mode == "I" else ((1, 0), (255, 16))
    for white, least in ranges:
        # Rounding errors of floating point are no other range.
        if low >= -1e-4 * white and least <= high <= white * 1.0001:
            return float(white)
    known = " or ".join(f"0 to {white}" for white, _ in ranges)
    raise ValueError(
        f"its values reach from {low:g} to {high:g} and only {known} is known: store it with 8 bits"
    )


def _upright(image: Image.Image, stored: Image.Image) -> Image.Image:
    turn = _TURNS.get(orientation(stored))
    if turn is None:
        return image
    turned = image.transpose(turn)
    # It still holds the orientation, which is not to be applied again.
    turned.info = {}
    return turned


def orientation(image: Image.Image) -> int:
    """The EXIF orientation that is to be applied, 2 to 8; 1 where there is nothing to turn."""
    # Damaged EXIF data is no reason to refuse the pixels, and Pillow raises nearly anything on it.
    try:
        # Pillow also warns of it, without the name of the file.
        with FILTERS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1
    return found if found in _TURNS else 1


def _tag(image: Image.Image, tag: int) -> int | None:
    """The first value of a whole-number tag of a TIFF file; None for other formats."""
    found: Any = getattr(image, "tag_v2", {}).get(tag)
    number: int | None = found[0] if isinstance(found, tuple) else found
    return number
