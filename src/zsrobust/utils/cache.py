"""Where results that only save time are kept between runs, and how much of the disk they take."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from zsrobust.utils.errors import RequestError

DEFAULT_GIGABYTES = 20.0

# Kinds of kept things large enough to be counted and, the longest unused first, deleted.
LARGE = ("pixels", "shards")

# What is left free on the disk for everything else.
_SPARED = 1 << 30


def cache_folder() -> Path:
    """``$ZSROBUST_CACHE``, else ``zsrobust`` in the user's cache folder. Not created here."""
    if "ZSROBUST_CACHE" in os.environ:
        return Path(os.environ["ZSROBUST_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "zsrobust"


def cache_limit() -> int:
    """The most bytes that large kept things may take: ``$ZSROBUST_CACHE_GB``, else 20 GB.

    Raises:
        RequestError: if the variable is no number of at least 0.
    """
    text = os.environ.get("ZSROBUST_CACHE_GB", str(DEFAULT_GIGABYTES))
    with contextlib.suppress(ValueError, OverflowError):
        if (limit := int(float(text) * 1e9)) >= 0:
            return limit
    raise RequestError(f"ZSROBUST_CACHE_GB is {text!r}: write a number of gigabytes, such as 50")


def make_room(size: int) -> bool:
    """Delete what was longest unused until ``size`` more bytes fit; whether they then do.

    They fit if all large things stay within ``cache_limit`` and a gigabyte of the disk stays free.
    A process that still reads a deleted file keeps it until it is closed. Two that ask at once are
    both told that there is room, so the limit may be passed by what is being written.
    """
    folder, limit = cache_folder(), cache_limit()
    if size > limit:
        return False
    kept = []
    for path in (path for kind in LARGE for path in (folder / kind).glob("*")):
        # Another process may delete it at this moment.
        with contextlib.suppress(OSError):
            status = path.stat()
            kept.append((status.st_mtime_ns, status.st_size, path))
    taken = sum(at[1] for at in kept)
    if _free(folder) + taken < size + _SPARED:
        return False
    for _, its_size, path in sorted(kept):
        if taken + size <= limit and _free(folder) >= size + _SPARED:
            break
        if path.suffix == ".lock":
            continue
        with contextlib.suppress(OSError):
            path.unlink()
            taken -= its_size
    return taken + size <= limit and _free(folder) >= size + _SPARED


def _free(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
