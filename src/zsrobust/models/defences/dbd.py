"""DBD, ``dbd(MODEL)``: an embedding is moved along the mean shift of transformed copies.

Liu et al., "Adversarial Attacks Already Tell the Answer: Directional Bias-guided Test-Time Defense
for Vision-Language Models" (ICLR 2026, arXiv 2606.06186), as in the released code. Its attacks are
on the undefended model; none goes through the defence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import RandomisedDefence, entropy, register_defence
from zsrobust.models.defences.jpeg import compressed
from zsrobust.models.random_views import gaussian_noise, random_resized_crops
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.validation import require

SMALLEST, DEVIATION, QUALITIES = 0.5, 0.1, (50, 60, 75)
"""Of crops, their least area; of noise; of JPEG."""
_INTERVAL = 32
"""Grey levels that 3 bits are apart."""
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""OpenCV's Gaussian kernel of 5 pixels, where no deviation is given."""
_FIXED = 9
"""Copies that nothing random is in: three of fewer bits, three of JPEG, three filters."""


@register_defence("dbd")
@dataclass(frozen=True)
class Dbd(RandomisedDefence):
    """The unit embedding u, moved along the mean shift of copies whose shifts agree.

    Copies are random crops of at least half the area, half of them flipped; the image in 3 bits,
    rounded down, to the nearest and up; JPEG of quality 50, 60 and 75; copies with normal noise of
    deviation 0.1; and median, mean and Gaussian filters of 5 pixels. Of their unit embeddings v the
    ``kept`` with the least entropy count. With s the mean of v - u, the answer is u + s, or
    u + ``strength`` s where the mean cosine of v - u with s exceeds ``threshold``.

    Gradient: exact, but that of fewer bits and JPEG is straight-through, and the choice of copies
    and the decision at ``threshold`` give none. Random: crops and noise. Cost: a forward pass for
    the image and each copy.

    Attributes:
        crops: copies that are crops.
        noisy: copies with noise.
        kept: copies that count.
        threshold: mean cosine above which the shift is lengthened.
        strength: how much.

    Raises:
        RequestError: if one is out of range.
    """

    crops: int = 16
    noisy: int = 6
    kept: int = 16
    threshold: float = 0.8
    strength: float = 2.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.crops >= 0, "dbd crops", self.crops, "0 or more")
        require(self.noisy >= 0, "dbd noisy", self.noisy, "0 or more")
        copies = self.views - 1
        require(1 <= self.kept <= copies, "dbd kept", self.kept, f"from 1 to {copies}, all copies")
        require(-1 <= self.threshold <= 1, "dbd threshold", self.threshold, "from -1 to 1")
        require(0 <= self.strength < float("inf"), "dbd strength", self.strength, "0 or more")

    @property
    def views(self) -> int:
        """The image and its copies."""
        return 1 + self.crops + self.noisy + _FIXED

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Embeddings (N, dim), moved, of ``images`` (N, 3, H, W) in [0, 1]."""
        views = torch.cat([images, *self.copies(images)])
        units = F.normalize(undefended.embed(views).float(), dim=-1)
        logits = undefended.logits(units.detach()).view(self.views, len(images), -1)
        return self.moved(units.view(self.views, len(images), -1), logits)

    def copies(self, images: Tensor) -> list[Tensor]:
        """The copies of ``images``, each (N, 3, H, W)."""
        cropped = [
            random_resized_crops(images, self.keys(images, number), SMALLEST)
            for number in range(self.crops)
        ]
        noisy = [
            (images + DEVIATION * gaussian_noise(images, self.keys(images, number))).clamp(0, 1)
            for number in range(self.crops, self.crops + self.noisy)
        ]
        return [*cropped, *_in_three_bits(images), *_compressed(images), *noisy, *_filtered(images)]

    def moved(self, units: Tensor, logits: Tensor) -> Tensor:
        """Embeddings (N, dim) from those of all views, the images' own first.

        Args:
            units: unit embeddings (V, N, dim).
            logits: (V, N, C).
        """
        own = units[0]
        rows = entropy(logits[1:]).topk(self.kept, dim=0, largest=False).indices[..., None]
        shifts = units[1:].gather(0, rows.expand(-1, -1, units.shape[-1])) - own
        mean = shifts.mean(0)
        agreement = F.cosine_similarity(shifts.detach(), mean.detach()[None], dim=-1).mean(0)
        factor = torch.where(agreement > self.threshold, self.strength, 1.0)
        return own + factor[:, None] * mean


def _straight_through(values: Tensor, images: Tensor) -> Tensor:
    """The values of ``values`` with the gradient of ``images``."""
    return values + (images - images.detach())


def _in_three_bits(images: Tensor) -> list[Tensor]:
    levels = (images.detach() * 255).round() / _INTERVAL
    return [
        _straight_through((kept * _INTERVAL / 255).clamp(0, 1), images)
        for kept in (levels.floor(), levels.round(), levels.ceil())
    ]


def _compressed(images: Tensor) -> list[Tensor]:
    given = images.detach()
    return [_straight_through(compressed(given, quality), images) for quality in QUALITIES]


def _filtered(images: Tensor) -> list[Tensor]:
    replicated, reflected = (F.pad(images, (2, 2, 2, 2), mode) for mode in ("replicate", "reflect"))
    median = replicated.unfold(2, 5, 1).unfold(3, 5, 1).flatten(-2).median(-1).values
    weights = torch.tensor(_BINOMIAL, dtype=images.dtype, device=images.device)
    kernel = (weights[:, None] * weights).expand(3, 1, 5, 5)
    return [median, F.avg_pool2d(reflected, 5, stride=1), F.conv2d(reflected, kernel, groups=3)]
