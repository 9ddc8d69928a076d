"""Any stored image as 8-bit RGB, the same way everywhere.

EXIF orientation is not applied, as in torchvision's loaders, so that numbers compare.
"""

from __future__ import annotations

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """``image`` of any Pillow mode, in mode RGB and at the same size.

    Transparency is laid on white. Modes ``I;16`` and ``I`` hold 16-bit grey (0 to 65535, clipped);
    mode ``F`` holds grey in [0, 1], or in [0, 255] where a value passes 1.

    Raises:
        ValueError: if a value is nan or infinite, which is no shade of grey.
    """
    if image.mode.startswith("I"):
        return _grey(np.asarray(image).astype(np.float64) / 257)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ValueError("it holds pixels that are nan or infinite")
        return _grey(values * 255 if values.max(initial=0) <= 1 else values)
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey(levels: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")
