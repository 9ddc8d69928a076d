"""From the name of a device to the device, refused early where it is not available."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from zsrobust.utils.errors import RequestError


def torch_device(name: str) -> torch.device:
    """The device called ``auto`` (CUDA where it is, else the CPU), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        RequestError: if it is not available.
    """
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device("cuda" if here["cuda"] else "cpu")
    if not here[name]:
        found = ", ".join(kind for kind, there in here.items() if there)
        raise RequestError(f"device {name} is not available here: choose auto or {found}")
    return torch.device(name)


@contextmanager
def full_precision() -> Iterator[None]:
    """Inside, fp32 on a GPU means fp32: convolutions and products do not round to TF32."""
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = False
    try:
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def bf16_works(device: torch.device) -> bool:
    """Whether ``device`` computes in bfloat16 itself, not by emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu"
