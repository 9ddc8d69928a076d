"""PatchCamelyon's HDF5 files: pixels in one, labels in the other."""

from __future__ import annotations

import functools
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from zsrobust.data.published.listing import Listing
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class HDF5Reader:
    """Reads images from the array ``x`` (N, 96, 96, 3) of an HDF5 file."""

    path: Path

    def __call__(self, index: int) -> Image.Image:
        """The image in mode RGB."""
        return Image.fromarray(_pixels(self.path, os.getpid())[index])


@functools.lru_cache(maxsize=4)
def _pixels(path: Path, process: int) -> Any:
    """The array, its file open; each process opens its own, for HDF5 cannot be forked."""
    import h5py

    return h5py.File(path)["x"]


def pcam(base: Path, split: str) -> Listing:
    """``pcam``: ``camelyonpatch_level_2_split_<split>_x.h5`` and ``_y.h5``.

    Raises:
        RequestError: if h5py is not installed, or the two files do not have as many samples.
    """
    try:
        import h5py
    except ImportError:
        raise RequestError(
            "pcam is stored as HDF5, which needs the package h5py: pip install 'zsrobust[pcam]'"
        ) from None
    from torchvision import datasets

    stored = datasets.PCAM(base.parent, split=split, download=False)
    images, targets = (base / stored._FILES[split][part][0] for part in ("images", "targets"))
    with h5py.File(targets) as file:
        labels = [int(label) for label in file["y"][:, 0, 0, 0]]
    with h5py.File(images) as file:
        shape = file["x"].shape
    if shape != (len(labels), 96, 96, 3):
        raise RequestError(
            f"{images} holds pixels {shape} for {len(labels)} labels in {targets.name}, where "
            f"({len(labels)}, 96, 96, 3) would be right: fetch both again"
        )
    return Listing(("0", "1"), labels, read_image=HDF5Reader(images), stamp=_stamp(images, targets))


def _stamp(*files: Path) -> str:
    text = "".join(f"{f.resolve()}\0{f.stat().st_size}\0{f.stat().st_mtime_ns}\0" for f in files)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
