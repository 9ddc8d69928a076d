"""``crop_voting(MODEL)``: the mean embedding of random resized crops, a baseline for defences.

Input transformations were proposed and broken as defences early (Guo et al., ICLR 2018, arXiv
1711.00117; Athalye, Carlini and Wagner, ICML 2018, arXiv 1802.00420).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import RandomisedDefence, register_defence
from zsrobust.models.random_views import crops, unit_numbers
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.validation import require


@register_defence("crop_voting")
@dataclass(frozen=True)
class CropVoting(RandomisedDefence):
    """The mean of the unit embeddings of ``crops`` random crops, resized to the image's own size.

    A crop has the image's aspect ratio, a side uniform between ``smallest`` and 1 of the image's,
    and a uniform place; it is resized by bilinear interpolation.

    Gradient: exact, of these crops. Random: sides and places. Cost: a forward pass a crop.

    Attributes:
        crops: how many.
        smallest: shortest side, as a share of the image's.

    Raises:
        RequestError: if one is out of range.
    """

    crops: int = 8
    smallest: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.crops >= 1, "crop_voting crops", self.crops, "1 or more")
        require(0 < self.smallest <= 1, "crop_voting smallest", self.smallest, "above 0, up to 1")

    @property
    def views(self) -> int:
        """One a crop."""
        return self.crops

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Mean unit embeddings (N, dim) of ``images`` (N, 3, H, W) in [0, 1]."""
        cropped = torch.cat([self.cropped(images, number) for number in range(self.crops)])
        embeddings = F.normalize(undefended.embed(cropped).float(), dim=-1)
        return embeddings.view(self.crops, len(images), -1).mean(0)

    def cropped(self, images: Tensor, number: int) -> Tensor:
        """Crop ``number`` of each of ``images`` (N, 3, H, W), of the same shape."""
        side, *place = unit_numbers(images, self.keys(images, number), 3).unbind(1)
        side = self.smallest + (1 - self.smallest) * side
        return crops(images, torch.stack([side, side], 1), torch.stack(place, 1))
