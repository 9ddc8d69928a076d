"""Images out of shards, any of them at any time; shards behind a URL are cached whole."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from zsrobust.data.readers import decoded
from zsrobust.data.shards.index import Rows, Shard
from zsrobust.data.shards.places import file_system, is_remote, unreachable
from zsrobust.utils.cache import cache_folder, cache_limit, make_room
from zsrobust.utils.errors import RunError
from zsrobust.utils.files import atomic_file, sha256_of

_ATTEMPTS = 3
# Seconds to wait before each further attempt.
RETRIES = (1.0, 4.0, 16.0)

Column = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class ShardReader:
    """Reads the image at each row from its place in a tar file.

    Attributes:
        places: path or URL of each shard.
        shards: what each is.
        shard, offset, size: of each image: its shard's number, and its bytes there.
    """

    places: Sequence[str]
    shards: Sequence[Shard]
    shard: Column
    offset: Column
    size: Column

    @classmethod
    def of(cls, places: Sequence[str], shards: Sequence[Shard], rows: Rows) -> ShardReader:
        """The reader of ``rows``."""
        columns = (np.array(column, np.int64) for column in (rows.shard, rows.offset, rows.size))
        return cls(places, shards, *columns)

    def __call__(self, index: int) -> Image.Image:
        """The image as stored."""
        return decoded(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """The image's bytes."""
        number, size = int(self.shard[index]), int(self.size[index])
        for _ in range(_ATTEMPTS):
            # Between being found and opened, a copy may make room for another.
            try:
                with self.local(number).open("rb") as file:
                    file.seek(int(self.offset[index]))
                    content = file.read(size)
                break
            except FileNotFoundError as reason:
                missing = reason
        else:
            raise missing
        if len(content) < size:
            raise ValueError(f"{self.places[number]} is cut short")
        return content

    def local(self, number: int) -> Path:
        """The path of the shard of that number, fetched where it is behind a URL."""
        place = self.places[number]
        return local_copy(place, self.shards[number]) if is_remote(place) else Path(place)


def local_copy(url: str, shard: Shard) -> Path:
    """The path of a whole copy of ``shard``, fetched from ``url`` unless it is here.

    One process fetches and the others wait. What was longest unused makes room; a reader must
    therefore be ready to ask again where the copy is gone.

    Raises:
        RunError: if it cannot be fetched, is not what the index says, or there is no room for it.
    """
    seen = f"{url}\0{shard.bytes}\0{shard.version}"
    name = shard.sha256 or hashlib.sha256(seen.encode()).hexdigest()
    path = cache_folder() / "shards" / name
    if _touched(path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not _touched(path):
            _fetch(url, shard, path)
    return path


def _touched(path: Path) -> bool:
    """Whether ``path`` is there; it then counts as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _fetch(url: str, shard: Shard, path: Path) -> None:
    if not make_room(shard.bytes):
        raise RunError(
            f"there is no room for {shard.name} ({shard.bytes / 1e9:.2f} GB) in "
            f"{cache_folder()}: free the disk, or allow more than {cache_limit() / 1e9:g} GB with "
            "ZSROBUST_CACHE_GB"
        )
    fs, remote = file_system(url)
    for wait in (*RETRIES, None):
        try:
            with atomic_file(path) as temporary:
                fs.get_file(remote, str(temporary))
                _check(temporary, shard, url)
            return
        except RunError as reason:
            failure = reason
        # Whatever the network or the server did.
        except Exception as reason:
            failure = unreachable(url, reason, RunError)
            if isinstance(reason, FileNotFoundError):
                wait = None
        if wait is None:
            raise failure
        time.sleep(wait)


def _check(path: Path, shard: Shard, url: str) -> None:
    size = path.stat().st_size
    if size != shard.bytes:
        raise RunError(f"{url} gave {size:,} bytes, not {shard.bytes:,}")
    if shard.sha256 and sha256_of(path) != shard.sha256:
        raise RunError(f"{url} is not the file that the index was written with: copy it again")
