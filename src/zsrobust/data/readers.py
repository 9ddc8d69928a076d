"""Where stored images come from: files below a folder, or an array in memory.

Each reader is a small picklable object, so that loader processes can be forked or spawned.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from zsrobust.errors import RequestError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
# What a file may be, whatever it is called. Pillow finds the format from the content, and would
# hand PostScript to a program outside, Ghostscript, which runs it.
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

# Filters of warnings belong to the whole process, and images are opened by many threads.
_FILTERS = threading.Lock()


@runtime_checkable
class EncodedReader(Protocol):
    """A reader of images that are stored in an image format."""

    def encoded(self, index: int) -> bytes:
        """The stored bytes of the image at ``index``."""
        ...


def opened(content: bytes) -> Image.Image:
    """The image that the bytes of an image file hold, its header read.

    Of twice Pillow's ``MAX_IMAGE_PIXELS``, 178,956,970 pixels, it takes no more. From half of that
    on, Pillow would also warn; what it warns of is allowed here.

    Raises:
        Exception: nearly any, if it is none of :data:`FORMATS`, is damaged or has more pixels.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content), formats=FORMATS)


def decoded(content: bytes) -> Image.Image:
    """The image that the bytes of an image file hold, fully decoded."""
    with opened(content) as image:
        image.load()
        return image


@dataclass(frozen=True)
class FileReader:
    """Reads the image file at each path (posix form) below ``root``."""

    root: Path
    paths: Sequence[str]

    def __call__(self, index: int) -> Image.Image:
        """The image, fully decoded."""
        return decoded(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """The file's bytes."""
        return (self.root / self.paths[index]).read_bytes()


@dataclass(frozen=True)
class ArrayReader:
    """Reads images from an array of 8-bit pixels (N, H, W) or (N, H, W, 3)."""

    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

    def __call__(self, index: int) -> Image.Image:
        """The image in mode L or RGB."""
        return Image.fromarray(self.pixels[index])


@dataclass(frozen=True)
class SubsetReader:
    """Reads the images of another reader that are at ``indices``."""

    read_image: Callable[[int], Image.Image]
    indices: Sequence[int]

    def __call__(self, index: int) -> Image.Image:
        """The image that the other reader has at ``indices[index]``."""
        return self.read_image(self.indices[index])


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in ``folder``, hidden ones left out.

    Raises:
        RequestError: if ``folder`` cannot be listed.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as reason:
        _refuse_unlisted(reason)
    return sorted(entry.name for entry in entries if entry.is_dir() and entry.name[0] != ".")


def images_below(root: Path, folder: str) -> list[str]:
    """Paths below ``root`` (posix form) of the image files anywhere in its ``folder``, sorted.

    Hidden files and folders are left out; each folder is visited once, whatever links lead to it.

    Raises:
        RequestError: if a folder cannot be listed, or a path is not UTF-8, for it could not be
            written into results.
    """
    seen: set[tuple[int, int]] = set()
    found: list[str] = []
    for here, folders, files in os.walk(root / folder, onerror=_refuse_unlisted, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if name[0] != ".")
        below = Path(here).relative_to(root)
        found.extend(
            (below / name).as_posix()
            for name in files
            if name[0] != "." and Path(name).suffix.lower() in IMAGE_SUFFIXES
        )
    for path in found:
        # Python keeps undecodable bytes of a file name as surrogates.
        if any("\ud800" <= letter <= "\udfff" for letter in path):
            raise RequestError(f"the path {path!r} below {root} is not UTF-8: rename it")
    return sorted(found)


def _refuse_unlisted(reason: OSError) -> NoReturn:
    raise RequestError(
        f"cannot list the folder {reason.filename} ({reason.strerror}): give one that can be read"
    ) from None
