"""A global random state of one's own for code that draws from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zsrobust.utils.lazy import torch


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
