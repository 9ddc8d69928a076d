"""Which changes to an image an attacker may make: a ball of radius eps inside the pixel range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zsrobust.utils.errors import Diverged, RequestError
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import require, require_linf_length

ROUNDING = 1e-6
"""How far outside the pixel range float32 may round an image that was brought back into it."""


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
        RequestError: if ``norm`` is unknown, ``bounds`` are no range, or ``eps`` is no distance or,
            in ``linf``, the whole range.
    """

    norm: Literal["linf", "l2"] = "linf"
    eps: float = 1 / 255
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        require(self.norm in ("linf", "l2"), "norm", repr(self.norm), "linf or l2")
        try:
            low, high = map(float, self.bounds)
        except (TypeError, ValueError):
            low = high = 0.0
        require(-math.inf < low < high < math.inf, "bounds", self.bounds, "two numbers, as in 0, 1")
        object.__setattr__(self, "bounds", (low, high))
        object.__setattr__(self, "eps", self.length("eps", self.eps))

    def length(self, key: str, value: str | float) -> float:
        """``value``, such as ``1/255``, as a distance in ``norm``; ``key`` is what to call it.

        Raises:
            RequestError: if it is negative or no number, or, in ``linf``, the whole pixel range.
        """
        try:
            length = float(Eps(value))
        except RequestError as error:
            raise RequestError(f"{key} {error}") from None
        if self.norm == "linf":
            require_linf_length(key, length / (self.bounds[1] - self.bounds[0]))
        return length

    def require_images(self, images: Tensor) -> None:
        """Refuse images that this threat model says nothing of.

        Raises:
            RequestError: if they are not float32 or lie outside ``bounds`` by more than rounding.
            Diverged: if a pixel is NaN.
        """
        require(
            images.dtype == torch.float32,
            "the type of images",
            images.dtype,
            "torch.float32, with 0..255 divided by 255",
        )
        if images.numel() == 0:
            return
        lowest, highest = torch.stack([images.detach().amin(), images.detach().amax()]).tolist()
        if math.isnan(lowest):
            raise Diverged("images hold NaN: check how they were read and preprocessed")
        low, high = self.bounds
        if lowest < low - ROUNDING or highest > high + ROUNDING:
            raise RequestError(
                f"images lie in [{lowest:.4g}, {highest:.4g}], outside the pixel range "
                f"[{low:g}, {high:g}]: normalise inside the classifier, divide 0..255 by 255, and "
                "clamp what a resize overshot"
            )

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
        shortened = images + self.eps * _unit(adversarial - images)
        return torch.where(inside, adversarial, shortened).clamp(*self.bounds)

    def start(self, images: Tensor, noise: Tensor | None) -> Tensor:
        """Where an attack begins: a point of the threat model from ``noise``, uniform in [-1, 1).

        The start is uniform in the ball, then projected. Without noise it is the image itself.
        """
        if noise is None:
            return images
        spread = noise if self.norm == "linf" else _points_of_unit_ball(noise)
        return self.project(images, images + self.eps * spread)

    def step(
        self, images: Tensor, adversarial: Tensor, gradient: Tensor, step_size: float | Tensor
    ) -> Tensor:
        """One step of steepest ascent from ``adversarial``, brought back around ``images``.

        ``step_size`` is the length of the step in ``norm``, one for all or each sample's own
        (N, 1, 1, 1).
        """
        ascent = gradient.sign() if self.norm == "linf" else _unit(gradient)
        return self.project(images, adversarial + step_size * ascent)


def _unit(vectors: Tensor) -> Tensor:
    """Each sample of ``vectors`` (N, 3, H, W) at Euclidean length 1; a zero stays zero."""
    flat: Tensor = vectors.flatten(1)
    tiny = torch.finfo(flat.dtype).tiny
    # The largest entry first: the square of a gradient of 1e-25 is already 0.
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(tiny)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(tiny)
    return flat.view_as(vectors)


def _points_of_unit_ball(noise: Tensor) -> Tensor:
    """A point of the unit ball for each sample of ``noise`` (N, 3, H, W), uniform in [-1, 1).

    If the noise is uniform in the cube, the points are uniform in the ball: normal deviates give
    the direction, and u ** (1 / d) with uniform u the radius. Each sample's point depends on its
    own noise alone.
    """
    # The noise has 23 bits below its sign, and -1 itself would be infinitely far out.
    direction = _unit(torch.erfinv(noise.clamp_min(-1 + 2**-23)))
    # u is the lower half of the first pixel's bits, of which its direction knows next to nothing.
    u = torch.remainder(noise.flatten(1)[:, 0] * 2**11, 1)
    radius = u ** (1 / noise[0].numel())
    return radius[:, None, None, None] * direction
