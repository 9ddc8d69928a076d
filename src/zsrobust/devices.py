"""Device words to devices, refused early where there is none."""

from __future__ import annotations

import torch

from zsrobust.errors import RequestError


def torch_device(word: str) -> torch.device:
    """The device called ``auto`` (the best one here), ``cpu``, ``cuda`` or ``mps``.

    Raises:
        RequestError: if it is not here.
    """
    here = ["cpu"]
    if torch.backends.mps.is_available():
        here.append("mps")
    if torch.cuda.is_available():
        here.append("cuda")
    if word != "auto" and word not in here:
        raise RequestError(f"device {word} is not available here: choose auto or {', '.join(here)}")
    return torch.device(here[-1] if word == "auto" else word)
