"""The cache on disk: its folder, its size limit, and eviction of the least recently used.

The entries are plain files, which several processes map into memory; ``diskcache`` stores pickles.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from zsrobust.utils.errors import RequestError

DEFAULT_GIGABYTES = 20.0

# Subfolders whose files count towards the limit and are evicted.
LARGE = ("pixels", "shards")

# Bytes that stay free on the disk.
_RESERVED = 1 << 30


def cache_folder() -> Path:
    """``$ZSROBUST_CACHE``, else ``zsrobust`` in the user's cache folder. Not created here."""
    if "ZSROBUST_CACHE" in os.environ:
        return Path(os.environ["ZSROBUST_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zsrobust"


def cache_limit() -> int:
    """The most bytes that large entries may take: ``$ZSROBUST_CACHE_GB``, else 20 GB.

    Raises:
        RequestError: if the variable is not a number of at least 0.
    """
    text = os.environ.get("ZSROBUST_CACHE_GB", str(DEFAULT_GIGABYTES))
    with contextlib.suppress(ValueError, OverflowError):
        if (limit := int(float(text) * 1e9)) >= 0:
            return limit
    raise RequestError(f"ZSROBUST_CACHE_GB is {text!r}: write a number of gigabytes, such as 50")


def make_room(size: int) -> bool:
    """Evict the least recently used entries until ``size`` more bytes fit; whether they then do.

    They fit if all large entries stay within ``cache_limit`` and 1 GiB of the disk stays free. A
    process that has a deleted file open can read it until it is closed. Two processes that ask at
    once may both be granted room, so the limit may be exceeded by what is being written.
    """
    folder, limit = cache_folder(), cache_limit()
    if size > limit:
        return False
    entries = []
    for path in (path for kind in LARGE for path in (folder / kind).glob("*")):
        # Another process may delete it at this moment.
        with contextlib.suppress(OSError):
            status = path.stat()
            entries.append((status.st_mtime_ns, status.st_size, path))
    taken = sum(entry[1] for entry in entries)
    if _free(folder) + taken < size + _RESERVED:
        return False
    for _, its_size, path in sorted(entries):
        if taken + size <= limit and _free(folder) >= size + _RESERVED:
            break
        if path.suffix == ".lock":
            continue
        with contextlib.suppress(OSError):
            path.unlink()
            taken -= its_size
    return taken + size <= limit and _free(folder) >= size + _RESERVED


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
