"""``jpeg(MODEL)``: images are compressed before they are embedded, a baseline for defences.

Dziugaite, Ghahramani and Roy (2016, arXiv 1608.00853) and Guo et al. (ICLR 2018, arXiv 1711.00117).
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import Defence, register_defence
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.validation import require


@register_defence("jpeg")
@dataclass(frozen=True)
class Jpeg(Defence):
    """Images rounded to 8 bits, compressed by Pillow and decoded.

    Gradient: compression has no useful derivative; it passes as if nothing were changed (backward
    pass differentiable approximation, arXiv 1802.00420). Random: nothing. Cost: one forward pass.

    Attributes:
        quality: of Pillow's encoder, from 1 to 95.

    Raises:
        RequestError: if it is out of range.
    """

    quality: int = 75

    def __post_init__(self) -> None:
        require(1 <= self.quality <= 95, "jpeg quality", self.quality, "from 1 to 95")

    @property
    def views(self) -> int:
        """One."""
        return 1

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Raw embeddings (N, dim) of the compressed ``images`` (N, 3, H, W) in [0, 1]."""
        given = images.detach()
        # The values are those after compression, the gradient that of the images.
        return undefended.embed(compressed(given, self.quality) + (images - given))


def compressed(images: Tensor, quality: int) -> Tensor:
    """``images`` (N, 3, H, W) in [0, 1] as 8-bit JPEG, decoded; of the same shape, no gradient."""
    decoded = [_compressed(image, quality) for image in images.detach().cpu()]
    return torch.stack(decoded).to(images) if decoded else images.detach()


def _compressed(image: Tensor, quality: int) -> Tensor:
    pixels = (image.float() * 255).round().byte().permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    decoded = np.array(Image.open(buffer, formats=["JPEG"]))
    return torch.from_numpy(decoded).permute(2, 0, 1).float() / 255
