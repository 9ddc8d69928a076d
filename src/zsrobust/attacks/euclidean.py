"""Directions and random points in the Euclidean ball, one a sample."""

from __future__ import annotations

from zsrobust.utils.lazy import Tensor, torch


def unit(vectors: Tensor) -> Tensor:
    """Each sample of ``vectors`` (N, 3, H, W) at Euclidean length 1; a zero stays zero."""
    flat: Tensor = vectors.flatten(1)
    tiny = torch.finfo(flat.dtype).tiny
    # The largest entry first: the square of a gradient of 1e-25 is already 0.
    flat = flat / flat.abs().amax(1, keepdim=True).clamp_min(tiny)
    flat = flat / flat.norm(dim=1, keepdim=True).clamp_min(tiny)
    return flat.view_as(vectors)


def points_of_unit_ball(noise: Tensor) -> Tensor:
    """A point of the unit ball for each sample of ``noise`` (N, 3, H, W), uniform in [-1, 1).

    If the noise is uniform in the cube, the points are uniform in the ball: normal deviates give
    the direction, and u ** (1 / d) with uniform u the radius. Each sample's point depends on its
    own noise alone.
    """
    # The noise has 23 bits below its sign, and -1 itself would be infinitely far out.
    direction = unit(torch.erfinv(noise.clamp_min(-1 + 2**-23)))
    # u is the lower half of the first pixel's bits, of which its direction knows next to nothing.
    u = torch.remainder(noise.flatten(1)[:, 0] * 2**11, 1)
    radius = u ** (1 / noise[0].numel())
    return radius[:, None, None, None] * direction
