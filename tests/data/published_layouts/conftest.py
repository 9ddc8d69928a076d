"""Published sets written as their authors publish them, with few and tiny images.

The mean level of an image depends on its label alone, so that reading it back shows whether
image, label and name belong together.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.miniature import (
    encoded,
    level_of,
    taken_for_published,
    write_miniature,
)
from zsrobust.data.published.sets import MINIATURE


@pytest.fixture
def miniature(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a set in miniature and returns its own folder; nothing says that it is none."""
    with ExitStack() as stack:

        def write(kind: str, per_class: int = 1) -> Path:
            base = write_miniature(kind, tmp_path, per_class)
            (base / MINIATURE).unlink()
            stack.enter_context(taken_for_published(tmp_path))
            return base

        yield write


@pytest.fixture
def write_flat() -> Callable[[Path, int], Path]:
    """Writes the image of a label."""

    def write(path: Path, label: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(label))
        if path.suffix == ".png":
            Image.open(io.BytesIO(encoded(label))).save(path)
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
