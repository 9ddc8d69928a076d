"""Which changes to an image an attacker may make: a ball of radius eps inside the pixel range."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from zsrobust.attacks.euclidean import points_of_unit_ball, unit
from zsrobust.checks import require
from zsrobust.errors import RequestError


@dataclass(frozen=True)
class ThreatModel:
    """All images within ``eps`` of the original in ``norm`` and within ``bounds``.

    Attributes:
        norm: ``linf``, the largest change of any pixel and channel, or ``l2``, the Euclidean
            length of the whole change.
        eps: radius in units of the pixel range: 1/255 is one level in ``linf``; in ``l2``, where
            the changes of all pixels add up, it may exceed 1.
        bounds: the pixel range.

    Raises:
        RequestError: if ``norm`` is unknown or ``eps`` negative.
    """

    norm: Literal["linf", "l2"] = "linf"
    eps: float = 1 / 255
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        require(self.norm in ("linf", "l2"), "norm", repr(self.norm), "linf or l2")
        if not self.eps >= 0:
            raise RequestError(f"eps {self.eps!r} must be 0 or more: write 1/255 or 0.0039")

    def distance(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """How far each image was moved, (N,), in ``norm``; both have shape (N, 3, H, W)."""
        change = (adversarial - images).flatten(1)
        return change.abs().amax(1) if self.norm == "linf" else change.norm(dim=1)

    def project(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """``adversarial`` brought into the threat model around ``images``, both (N, 3, H, W).

        In ``linf`` the nearest point of it. In ``l2`` the change is shortened to ``eps`` and then
        cut off at the pixel range: that lies in both, since cutting only shortens the change
        further, but it need not be the nearest such point.
        """
        if self.norm == "linf":
            lowest = (images - self.eps).clamp_min(self.bounds[0])
            highest = (images + self.eps).clamp_max(self.bounds[1])
            return torch.minimum(torch.maximum(adversarial, lowest), highest)
        inside = self.distance(images, adversarial)[:, None, None, None] <= self.eps
        shortened = images + self.eps * unit(adversarial - images)
        return torch.where(inside, adversarial, shortened).clamp(*self.bounds)

    def start(self, images: Tensor, noise: Tensor | None) -> Tensor:
        """Where an attack begins: a point of the threat model from ``noise``, uniform in [-1, 1).

        The start is uniform in the ball, then projected. Without noise it is the image itself.
        """
        if noise is None:
            return images
        spread = noise if self.norm == "linf" else points_of_unit_ball(noise)
        return self.project(images, images + self.eps * spread)

    def step(
        self, images: Tensor, adversarial: Tensor, gradient: Tensor, step_size: float | Tensor
    ) -> Tensor:
        """One step of steepest ascent from ``adversarial``, brought back around ``images``.

        ``step_size`` is the length of the step in ``norm``, one for all or each sample's own
        (N, 1, 1, 1).
        """
        ascent = gradient.sign() if self.norm == "linf" else unit(gradient)
        return self.project(images, adversarial + step_size * ascent)
