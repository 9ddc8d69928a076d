"""Whole shards from behind a URL, kept here while they are used."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from filelock import FileLock

from zsrobust.data.shards.contents import Shard
from zsrobust.data.shards.places import file_system, unreachable
from zsrobust.utils.cache import cache_folder, cache_limit, make_room
from zsrobust.utils.errors import RunError
from zsrobust.utils.files import sha256_of, written_whole

# Seconds to wait before each further attempt.
RETRIES = (1.0, 4.0, 16.0)


def local_copy(url: str, shard: Shard) -> Path:
    """The path of a whole copy of ``shard``, fetched from ``url`` unless it is here.

    One process fetches and the others wait. What was longest unused makes room; a reader must
    therefore be ready to ask again where the copy is gone.

    Raises:
        RunError: if it cannot be fetched, is not what the index says, or there is no room for it.
    """
    seen = f"{url}\0{shard.bytes}\0{shard.version}"
    told = shard.sha256 or hashlib.sha256(seen.encode()).hexdigest()
    path = cache_folder() / "shards" / told
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
            with written_whole(path) as temporary:
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
