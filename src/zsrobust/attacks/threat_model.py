"""Which changes to an image an attacker may make: a ball of radius eps inside the pixel range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsrobust.errors import RequestError


@dataclass(frozen=True)
class ThreatModel:
    """All images within ``eps`` of the original in ``norm`` and within ``bounds``.

    Attributes:
        norm: ``linf``, the largest change of any pixel and channel.
        eps: radius as a fraction of the pixel range, such as 1/255.
        bounds: the pixel range.

    Raises:
        RequestError: if ``norm`` is unknown or ``eps`` negative.
    """

    norm: Literal["linf"] = "linf"
    eps: float = 1 / 255
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.norm != "linf":
            raise RequestError(f"norm {self.norm!r} is unknown: choose linf")
        if not self.eps >= 0:
            raise RequestError(f"eps {self.eps!r} must be 0 or more: write 1/255 or 0.0039")

    def project(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """The point of the threat model around ``images`` nearest to ``adversarial``.

        Both have shape (N, 3, H, W) and the same range.
        """
        lowest = (images - self.eps).clamp_min(self.bounds[0])
        highest = (images + self.eps).clamp_max(self.bounds[1])
        return torch.minimum(torch.maximum(adversarial, lowest), highest)

    def start(self, images: Tensor, noise: Tensor | None) -> Tensor:
        """Where an attack begins: a point of the threat model from ``noise``, uniform in [-1, 1).

        Without noise it is the image itself.
        """
        return images if noise is None else self.project(images, images + self.eps * noise)

    def step(
        self, images: Tensor, adversarial: Tensor, gradient: Tensor, step_size: float
    ) -> Tensor:
        """One step of steepest ascent from ``adversarial``, brought back around ``images``."""
        return self.project(images, adversarial + step_size * gradient.sign())
