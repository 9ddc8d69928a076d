"""Where results were made: versions and device."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

LIBRARIES = ("torch", "torchvision", "open_clip_torch", "timm", "numpy", "pillow")


def environment(device: torch.device) -> dict[str, object]:
    """Versions of everything that computes, and the device's name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "zsrobust": version("zsrobust"),
        "python": platform.python_version(),
        **{library: version(library) for library in LIBRARIES},
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
    }
