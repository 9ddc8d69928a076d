"""Random views of images, from keys: what test-time defences embed besides the image itself.

Differentiable with respect to the images (N, 3, H, W), whose shape, device and type views keep.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.utils.noise import noise_of_keys

_TRIES = 10


def unit_numbers(images: Tensor, keys: Tensor, count: int) -> Tensor:
    """Numbers (N, ``count``) uniform in [0, 1), from one key an image, ``keys`` (N,)."""
    shape = images.new_empty(len(images), 1, 1, count)
    return (noise_of_keys(shape, keys).view(len(images), count) + 1) / 2


def gaussian_noise(images: Tensor, keys: Tensor) -> Tensor:
    """Noise of the standard normal law, of the shape of ``images``."""
    uniform = (noise_of_keys(images.detach(), keys) + 1) / 2
    # Of 2**24 values, the first of each interval: 0 has no finite quantile.
    noise: Tensor = torch.special.ndtri((uniform + 2**-25).clamp_max(1 - 2**-24))
    return noise


def crops(images: Tensor, sides: Tensor, places: Tensor, mirrored: Tensor | None = None) -> Tensor:
    """Parts of the images, resized to the images' size by bilinear interpolation.

    Args:
        images: (N, 3, H, W).
        sides: width and height of each part, as shares of the image's, (N, 2).
        places: left and upper rest, as shares of what is left out, (N, 2).
        mirrored: which are flipped left to right, (N,); None for none.
    """
    boxes = images.new_zeros(len(images), 2, 3)
    boxes[:, 0, 0], boxes[:, 1, 1] = sides.unbind(1)
    if mirrored is not None:
        boxes[mirrored, 0, 0] *= -1
    # Coordinates of the sampling grid run from -1 to 1.
    boxes[:, :, 2] = (1 - sides) * (2 * places - 1)
    grid = F.affine_grid(boxes, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_resized_crops(images: Tensor, keys: Tensor, smallest: float) -> Tensor:
    """Crops as by torchvision's RandomResizedCrop and RandomHorizontalFlip, in real coordinates.

    The area is uniform between ``smallest`` and 1 of the image's, the logarithm of the aspect ratio
    between those of 3/4 and 4/3; both are drawn until the part fits, ten times at most, after which
    it is the whole image. Half of them are flipped.
    """
    numbers = unit_numbers(images, keys, 2 * _TRIES + 3)
    areas = smallest + (1 - smallest) * numbers[:, :_TRIES]
    ratios = torch.exp((2 * numbers[:, _TRIES : 2 * _TRIES] - 1) * math.log(4 / 3))
    ratios = ratios * (images.shape[2] / images.shape[3])
    tries = torch.stack([(areas * ratios).sqrt(), (areas / ratios).sqrt()], -1)
    fits = (tries <= 1).all(-1)
    first = fits.int().argmax(1)
    sides = tries[torch.arange(len(images), device=images.device), first]
    sides = torch.where(fits.any(1)[:, None], sides, torch.ones_like(sides))
    return crops(images, sides, numbers[:, -3:-1], numbers[:, -1] < 0.5)
