"""Which evaluation images are nearest to training images: python scripts/near_duplicates.py --help

Images are compared as thumbnails of 16 x 16 pixels, by the correlation of their values: a copy at
another size has 1, the same photograph cropped a little about 0.95, as have two plain blue skies.
So the nearest pairs of every set are drawn side by side, to be looked at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zsrobust.data.image_set import ImageSet
from zsrobust.data.registry import open_set

THUMBNAIL = 16
SHOWN, CAPTION = 96, 14


def thumbnails(images: ImageSet) -> NDArray[np.float32]:
    """(N, 768) values of mean 0 and length 1."""
    values = np.empty((len(images), 3 * THUMBNAIL**2), np.float32)
    for index in range(len(images)):
        small = images.read_rgb(index).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        values[index] = np.asarray(small, np.float32).reshape(-1)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values


def nearest(images: ImageSet, trained: NDArray[np.float32]) -> list[tuple[float, int, int]]:
    """Correlation, index in ``images`` and in training images of each one's nearest, best first."""
    found = thumbnails(images) @ trained.T
    at = found.argmax(axis=1)
    pairs = [(float(found[i, j]), i, int(j)) for i, j in enumerate(at)]
    return sorted(pairs, reverse=True)


def main() -> None:
    """Print how many images of each set are near a training image, and draw the nearest."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--train", required=True, help="data specification of the training set")
    parser.add_argument("--data", required=True, nargs="+", help="those of evaluation sets")
    parser.add_argument("--out", required=True, type=Path, help="PNG of the nearest pairs")
    parser.add_argument("--pairs", type=int, default=6, help="pairs of each set in it")
    asked = parser.parse_args()
    train = open_set(asked.train, "train")
    trained = thumbnails(train)
    width, height = 2 * SHOWN + 8, SHOWN + CAPTION
    sheet = Image.new("RGB", (asked.pairs * width, len(asked.data) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for row, spec in enumerate(asked.data):
        images = open_set(spec, "test")
        pairs = nearest(images, trained)
        alike = sum(correlation >= 0.95 for correlation, _, _ in pairs)
        print(f"{images.name}: {len(images)} images, {alike} with a correlation of 0.95 or more")
        for column, (correlation, one, other) in enumerate(pairs[: asked.pairs]):
            corner = column * width, row * height
            for offset, picture in ((0, images.read_rgb(one)), (SHOWN, train.read_rgb(other))):
                sheet.paste(picture.resize((SHOWN, SHOWN)), (corner[0] + offset, corner[1]))
            caption = f"{images.name[:18]} {correlation:.3f}"
            draw.text((corner[0], corner[1] + SHOWN), caption, fill="black")
    sheet.save(asked.out)


if __name__ == "__main__":
    main()
