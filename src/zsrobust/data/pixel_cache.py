"""Decoded and resized pixels on disk, so that later epochs and other models decode nothing.

One file holds a record a sample: a checksum and the pixels. A record is written when its image is
first decoded, and believed only where the checksum is right, so a file that is half full, cut
short or damaged costs decoding again and nothing else, and any number of processes may fill it at
once: two that decode one image write the same bytes. Records are read and written by call and not
through a memory mapping, which would end the process where the disk is full or the file was cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

from zsrobust._version import __version__
from zsrobust.data.image_set import ImageSet
from zsrobust.utils.cache import cache_folder, cache_limit, make_room

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

_CHECKSUM = 4


def pixel_cache(image_set: ImageSet, resize: str, resolution: int) -> PixelCache | None:
    """The cache of the pixels of ``image_set`` after this resize; None where they are not cached.

    Cached are sets with a stamp and slots whose pixels take a tenth of the cache's limit at most:
    2 GB, some 13,000 images at 224 px, unless the user gave another.
    """
    size = image_set.stamped_size * (_CHECKSUM + 3 * resolution**2)
    if not image_set.stamp or not image_set.slots or size * 10 > cache_limit():
        return None
    decides = [image_set.stamp, resize, resolution, image_set.native_size]
    decides += [__version__, PIL.__version__, features.version_codec("jpg"), _SCHEME]
    name = hashlib.blake2b(json.dumps(decides).encode(), digest_size=20).hexdigest()
    path = cache_folder() / "pixels" / name
    # A cache that cannot be written costs time, never a run.
    try:
        if not path.exists():
            if not make_room(size):
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        os.utime(path)
        return PixelCache(path, resolution)
    except OSError:
        return None


# Of the records below; raised where their layout changes.
_SCHEME = 1


@dataclass
class PixelCache:
    """The records of one file; may be sent to other processes, which open it anew.

    Attributes:
        path: the file.
        side: height and width of every image in pixels.
    """

    path: Path
    side: int
    _file: FileIO | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}

    def read(self, slot: int) -> Pixels | None:
        """The pixels (3, side, side) cached in ``slot``; None if there are none."""
        try:
            record = os.pread(self._descriptor(), self._size, slot * self._size)
        except OSError:
            return None
        stored, pixels = record[:_CHECKSUM], record[_CHECKSUM:]
        if len(record) < self._size or stored != _checksum(slot, pixels):
            return None
        return np.frombuffer(pixels, np.uint8).reshape(3, self.side, self.side)

    def write(self, slot: int, pixels: Pixels) -> None:
        """Cache ``pixels`` (3, H, W) in ``slot``, unless they are of another size."""
        if pixels.shape != (3, self.side, self.side):
            return
        content = pixels.tobytes()
        try:
            os.pwrite(self._descriptor(), _checksum(slot, content) + content, slot * self._size)
        except OSError:
            # The disk is full, or the file was deleted: reading continues without it.
            return

    @property
    def _size(self) -> int:
        return _CHECKSUM + 3 * self.side**2

    def _descriptor(self) -> int:
        if self._file is None:
            self._file = FileIO(self.path, "r+")
        return self._file.fileno()


def _checksum(slot: int, content: bytes) -> bytes:
    # Begun from the slot, so that a record in another's place is wrong, and so is a hole of zeros.
    return (zlib.crc32(content, slot + 1)).to_bytes(_CHECKSUM, "big")
