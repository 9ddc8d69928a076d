"""Keyed noise: each sample's random numbers depend on its key alone, not on who drew before.

A counter-based generator: pixel j of the sample with key k is the j-th output of SplitMix64
seeded with k (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).
Integer arithmetic only, so every device gives the same bits, whatever the batch size, the order,
the number of processes or the point of resumption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from zsrobust.utils.lazy import Tensor, torch


def _signed(value: int) -> int:
    """A 64-bit pattern as the signed integer that PyTorch stores for it."""
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _xor_shift(value: Tensor, bits: int) -> Tensor:
    # PyTorch shifts signed integers arithmetically; the mask drops the copied sign bits.
    return value ^ ((value >> bits) & ((1 << (64 - bits)) - 1))


def _mixed(state: Tensor) -> Tensor:
    """SplitMix64's output function."""
    state = _xor_shift(state, 30) * _MIX_1
    state = _xor_shift(state, 27) * _MIX_2
    return _xor_shift(state, 31)


def sample_key(seed: int, purpose: str, epoch: int, sample_id: str, restart: int) -> int:
    """The 64-bit key of one sample's noise."""
    text = f"{seed}\x1f{purpose}\x1f{epoch}\x1f{restart}\x1f{sample_id}"
    return int.from_bytes(
        hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True
    )


def pixel_keys(images: Tensor, *, seed: int, purpose: str, restart: int = 0) -> Tensor:
    """A 64-bit key (N,) of each of ``images`` (N, 3, H, W) from its own pixels, as int64.

    Equal pixels give equal keys, and one pixel that differs by one bit of its float32 gives
    another: the sum of all bit patterns, each times an odd number of its place, mixed. Integer
    arithmetic wraps, so neither the order of the sum nor the device matters.
    """
    # Zero has two bit patterns and is one value.
    bits = (images.detach().float() + 0.0).contiguous().view(torch.int32).flatten(1).long()
    places = torch.arange(1, bits.shape[1] + 1, dtype=torch.int64, device=images.device)
    total = (bits * (_mixed(places * _GOLDEN) | 1)).sum(1)
    return _mixed(total + sample_key(seed, purpose, 0, "", restart))


def uniform_noise(
    images: Tensor,
    sample_ids: Sequence[str],
    *,
    seed: int,
    purpose: str,
    epoch: int = 0,
    restart: int = 0,
) -> Tensor:
    """Uniform noise in [-1, 1) of the shape, device and type of ``images`` (N, 3, H, W)."""
    keys = torch.tensor(
        [sample_key(seed, purpose, epoch, sample_id, restart) for sample_id in sample_ids],
        dtype=torch.int64,
        device=images.device,
    )
    return noise_of_keys(images, keys)


def noise_of_keys(images: Tensor, keys: Tensor) -> Tensor:
    """Uniform noise in [-1, 1) from one 64-bit key a sample, ``keys`` (N,) of int64.

    Of the shape, device and type of ``images`` (N, 3, H, W), whose values do not matter.
    """
    pixels = images[0].numel() if len(images) else 0
    counter = torch.arange(1, pixels + 1, dtype=torch.int64, device=images.device)
    state = _mixed(keys[:, None] + counter[None, :] * _GOLDEN)
    # 24 random bits fill a float32 mantissa: every value is exact.
    unit = ((state >> 40) & 0xFFFFFF).to(images.dtype) / (1 << 23)
    return (unit - 1).view_as(images)


@contextmanager
def forked_rng(seed: int) -> Iterator[None]:
    """Seed the global generators inside; put the CPU's and every CUDA device's back after."""
    # Seeding reaches all devices, not only the one in use. Before CUDA is initialised they have
    # no state yet, and asking for it would initialise them.
    initialised = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if initialised else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
