"""Published sets written as their authors publish them, with few and tiny images.

Every image is one flat level that depends on its label alone, so that reading it back shows whether
image, label and name belong together.
"""

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsrobust.data.image_set import ImageSet


def level_of(label: int) -> int:
    """The grey level of a label's images."""
    return 20 + label % 211


@functools.cache
def encoded(level: int, suffix: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.full((8, 8, 3), level, np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG" if suffix == ".png" else "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def image_of() -> Callable[[int], bytes]:
    """The bytes of a label's image, in JPEG."""
    return lambda label: encoded(level_of(label), ".jpg")


@pytest.fixture
def write_flat() -> Callable[[Path, int], Path]:
    """Writes the image of a label."""

    def write(path: Path, label: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(level_of(label), path.suffix))
        return path

    return write


@pytest.fixture
def agrees() -> Callable[[ImageSet, Sequence[int]], bool]:
    """Whether the set has these labels, in order, and each image is the one of its label."""

    def check(images: ImageSet, labels: Sequence[int], every: int = 1) -> bool:
        assert list(images.labels) == list(labels)
        for index in range(0, len(images), every):
            level = float(np.asarray(images.read_rgb(index)).mean())
            assert abs(level - level_of(labels[index])) < 3, images.where(index)
        return True

    return check
