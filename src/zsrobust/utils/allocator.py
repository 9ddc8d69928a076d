"""Whether memory that is freed goes back to the system at once.

The tensors of a batch take tens of megabytes each. Unless told otherwise, the allocator of glibc
asks the system for every one above 32 MB anew and gives it back when it is freed, and smaller ones
when they lie last. The system clears each page again at the next use, which took a quarter of a
training step of ``photo-lite`` on a CPU (``docs/performance.md``).
"""

from __future__ import annotations

import ctypes
import os

VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_")
"""By which users of glibc decide it, as by ``glibc.malloc`` in TUNABLES."""
TUNABLES = "GLIBC_TUNABLES"

# Of mallopt(3).
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
_ONE_GIGABYTE, _MOST = 1 << 30, (1 << 31) - 1


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to a gigabyte a tensor, for what it allocates next.

    Has no effect where the user has decided it, or the C library is none of glibc's.
    """
    decided = any(name in os.environ for name in VARIABLES)
    if decided or "glibc.malloc" in os.environ.get(TUNABLES, ""):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    # In this order: the second alone would end the adaptation of the first.
    if mallopt(_MMAP_THRESHOLD, _ONE_GIGABYTE):
        mallopt(_TRIM_THRESHOLD, _MOST)
