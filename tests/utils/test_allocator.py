"""What is freed is kept for what is allocated next, unless the user decides otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from zsrobust.utils.allocator import TUNABLES, VARIABLES

CODE = """
import resource, sys
if sys.argv[1] == "kept":
    import zsrobust
import ctypes
allocate = ctypes.CDLL(None)
allocate.malloc.restype = ctypes.c_void_p
allocate.malloc.argtypes, allocate.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]

def use(size):
    place = allocate.malloc(size)
    ctypes.memset(place, 1, size)
    allocate.free(place)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

use(100 << 20)
before = faults()
use(100 << 20)
print(faults() - before)
"""
"""Prints how many pages the system hands out for the second 100 MB."""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the allocator is none of glibc's"
)


def pages(how, **variables):
    mine = {TUNABLES, *VARIABLES}
    others = {name: value for name, value in os.environ.items() if name not in mine}
    found = subprocess.run(
        [sys.executable, "-c", CODE, how],
        env={**others, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(found.stdout)


def test_memory_is_kept():
    asked_for = (100 << 20) // os.sysconf("SC_PAGE_SIZE")
    # Huge pages may serve many at once.
    assert pages("kept") < 20 < pages("returned") <= 1.1 * asked_for


@pytest.mark.parametrize(
    "variables",
    [
        {"MALLOC_MMAP_THRESHOLD_": str(1 << 25)},
        {"MALLOC_TRIM_THRESHOLD_": str(1 << 25)},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=33554432"},
    ],
)
def test_what_the_user_decided_holds(variables):
    assert pages("kept", **variables) > 20
