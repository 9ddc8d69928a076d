"""Sets that torchvision lists: where their files are, and what their labels mean.

torchvision keeps the lists under private names (``_image_files``, ``_labels``, ...); the tests read
every set through these, so that a version which renames one is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zsrobust.data.published.listing import Listing
from zsrobust.data.readers import ArrayReader


def food101(base: Path, split: str) -> Listing:
    """``food-101``: ``meta/<split>.json`` and ``images``."""
    return _of_files(base, _stored("Food101", base, split=split))


def dtd(base: Path, split: str) -> Listing:
    """``dtd``: ``dtd/labels/<split>1.txt`` and ``dtd/images``; the first partition."""
    return _of_files(base, _stored("DTD", base, split=split, partition=1))


def fgvc_aircraft(base: Path, split: str) -> Listing:
    """``fgvc-aircraft-2013b``: ``data/images_variant_<split>.txt``; labels are variants."""
    return _of_files(base, _stored("FGVCAircraft", base, split=split))


def flowers102(base: Path, split: str) -> Listing:
    """``flowers-102``: ``setid.mat``, ``imagelabels.mat`` (checksums compared) and ``jpg``."""
    from zsrobust.data.published.class_names import published_spellings

    stored = _stored("Flowers102", base, split=split)
    return _of_files(base, stored, classes=published_spellings("flowers102"))


def oxford_pets(base: Path, split: str) -> Listing:
    """``oxford-iiit-pet``: ``annotations/<split>.txt`` and ``images``."""
    return _of_files(base, _stored("OxfordIIITPet", base, split=split), paths="_images")


def stanford_cars(base: Path, split: str) -> Listing:
    """``stanford_cars``: the devkit's ``.mat`` files and a folder of images a split."""
    stored = _stored("StanfordCars", base, split=split)
    paths, labels = zip(*stored._samples, strict=True)
    return Listing(stored.classes, [int(label) for label in labels], _below(base, paths))


def sun397(base: Path, split: str) -> Listing:
    """``SUN397``: ``ClassName.txt`` and images in ``<letter>/<class>``; everything.

    torchvision lists images in the order of the disk; here they are sorted.
    """
    stored = _stored("SUN397", base)
    order = sorted(range(len(stored)), key=lambda index: stored._image_files[index].as_posix())
    paths = [stored._image_files[index] for index in order]
    return Listing(stored.classes, [stored._labels[index] for index in order], _below(base, paths))


def stl10(base: Path, split: str) -> Listing:
    """``stl10_binary``: ``<split>_X.bin`` and ``<split>_y.bin`` (checksums compared)."""
    stored = _stored("STL10", base, split=split)
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = stored.data.transpose(0, 2, 3, 1)
    # A stored 0, which no class has, is 255 by now.
    return Listing(stored.classes, stored.labels.tolist(), read_image=ArrayReader(pixels))


def _stored(name: str, base: Path, **options: Any) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)(base.parent, download=False, **options)


def _of_files(
    base: Path, stored: Any, paths: str = "_image_files", classes: Sequence[str] | None = None
) -> Listing:
    listed = _below(base, getattr(stored, paths))
    return Listing(classes or stored.classes, [int(label) for label in stored._labels], listed)


def _below(base: Path, paths: Sequence[str | Path]) -> list[str]:
    return [Path(path).relative_to(base).as_posix() for path in paths]


READERS: dict[str, Callable[[Path, str], Listing]] = {
    "food101": food101,
    "dtd": dtd,
    "fgvc-aircraft": fgvc_aircraft,
    "flowers102": flowers102,
    "oxford-pets": oxford_pets,
    "stanford-cars": stanford_cars,
    "sun397": sun397,
    "stl10": stl10,
}
