"""Random numbers keyed by an index: they do not depend on order, batch or process.

SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) as a
counter-based generator, in integers, so that every machine draws the same.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def stream(*parts: str) -> np.uint64:
    """The 64-bit key of a stream of draws, such as that of (set, split, purpose)."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "big"))


def uniform(key: np.uint64, indices: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """``count`` numbers in [0, 1) for each index, shape (N, count).

    Index i of a stream owns the outputs of a generator seeded with the i-th output of the stream's.
    """
    seeds = _mix(key + (indices.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
    counter = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    bits = _mix(seeds[:, None] + counter[None, :]) >> np.uint64(40)
    # 24 random bits fill a float32 mantissa: every value is exact.
    return bits.astype(np.float32) * np.float32(2.0**-24)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return state ^ (state >> np.uint64(31))
