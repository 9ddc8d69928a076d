"""Where stored images come from: files below a folder, or an array in memory.

Each reader is a small picklable object, so that loader processes can be forked or spawned.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

import numpy as np
from PIL import Image, features

from zsrobust.utils.errors import RequestError

_SUFFIXES = {
    "BMP": ".bmp",
    "GIF": ".gif",
    "JPEG": ".jpg .jpeg .jpe .jfif .pjpeg .pjp .mpo",
    "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
    "PNG": ".png .apng",
    "PPM": ".ppm .pgm .pbm .pnm",
    "TIFF": ".tif .tiff",
    "WEBP": ".webp",
    # Pillow reads it from 11.3 on.
    **({"AVIF": ".avif"} if features.modules.get("avif") and features.check("avif") else {}),
}
# What a file may be, whatever it is called. Pillow finds the format from the content, and would
# hand PostScript to a program outside, Ghostscript, which runs it.
FORMATS = tuple(_SUFFIXES)
IMAGE_SUFFIXES = frozenset(" ".join(_SUFFIXES.values()).split())

# Files and folders that systems leave among images; those with a dot ahead are hidden anyway.
_LEFT_BEHIND = frozenset({"thumbs.db", "desktop.ini", "icon\r", "ehthumbs.db"})
_LEFT_BEHIND_FOLDERS = frozenset(
    {"__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "system volume information"}
)
_PLAIN_SUFFIX = re.compile(r"\.\w{1,12}")

SEVERAL = "several"
"""Key in the ``info`` of an image whose file holds further ones, which are not read."""

# Filters of warnings belong to the whole process, and images are opened by many threads.
FILTERS = threading.Lock()
"""Held while the filters of warnings are changed."""


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
    with FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(content), formats=FORMATS)


def decoded(content: bytes) -> Image.Image:
    """The image that the bytes of an image file hold, the first if several, fully decoded."""
    with opened(content) as image:
        several = holds_several(image)
        image.load()
        image.info[SEVERAL] = several
        return image


def holds_several(image: Image.Image) -> bool:
    """Whether the file of an opened image holds further ones, as animations and scans do."""
    # Cameras and phones store previews and depth behind the one image of such a JPEG.
    if image.format == "MPO":
        return False
    # Pillow looks at the next image of some formats, which may be damaged.
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:
        return False


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


@dataclass(frozen=True)
class Found:
    """The files below a folder, without those that are hidden or that systems leave behind.

    Attributes:
        images: paths (posix form, sorted) of the image files, by their suffix.
        others: how many other files there are of each suffix; empty where a file has none.
    """

    images: list[str]
    others: Counter[str]


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in ``folder``, without hidden ones and those of systems.

    Raises:
        RequestError: if ``folder`` cannot be listed.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as reason:
        _refuse_unlisted(reason)
    return sorted(_visited(entry.name for entry in entries if entry.is_dir()))


def images_below(root: Path, folder: str) -> list[str]:
    """The images that ``found_below`` finds."""
    return found_below(root, folder).images


def found_below(root: Path, folder: str) -> Found:
    """The files anywhere in the folder ``folder`` of ``root``; paths are below ``root``.

    Each folder is visited once, whatever links lead to it.

    Raises:
        RequestError: if a folder cannot be listed, or an image's path is not UTF-8, for it could
            not be written into results.
    """
    seen: set[tuple[int, int]] = set()
    images: list[str] = []
    others: Counter[str] = Counter()
    for here, folders, files in os.walk(root / folder, onerror=_refuse_unlisted, followlinks=True):
        status = Path(here).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(_visited(folders))
        below = Path(here).relative_to(root)
        listed = sort_files(files)
        images += [(below / name).as_posix() for name in listed.images]
        others += listed.others
    for path in images:
        # Python keeps undecodable bytes of a file name as surrogates.
        if any("\ud800" <= letter <= "\udfff" for letter in path):
            raise RequestError(f"the path {path!r} below {root} is not UTF-8: rename it")
    return Found(sorted(images), others)


def sort_files(names: Iterable[str]) -> Found:
    """Which of the files of one folder are images."""
    found = Found([], Counter())
    for name in names:
        suffix = Path(name).suffix.lower()
        if name[0] == "." or name.lower() in _LEFT_BEHIND:
            continue
        if suffix in IMAGE_SUFFIXES:
            found.images.append(name)
        else:
            found.others[suffix if _PLAIN_SUFFIX.fullmatch(suffix) else ""] += 1
    return found


def _visited(folders: Iterable[str]) -> list[str]:
    return [name for name in folders if name[0] != "." and name.lower() not in _LEFT_BEHIND_FOLDERS]


def _refuse_unlisted(reason: OSError) -> NoReturn:
    raise RequestError(
        f"cannot list the folder {reason.filename} ({reason.strerror}): give one that can be read"
    ) from None
