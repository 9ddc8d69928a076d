"""``noise_averaging(MODEL)``: the mean embedding of copies with noise, a baseline for defences.

As randomised smoothing does with votes (Cohen, Rosenfeld and Kolter, ICML 2019, arXiv 1902.02918),
without its certificate: the noise is uniform, and few copies are drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import RandomisedDefence, register_defence
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.noise import noise_of_keys
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import require, require_linf_length

USUAL_EPS = Eps("8/255")


@register_defence("noise_averaging")
@dataclass(frozen=True)
class NoiseAveraging(RandomisedDefence):
    """The mean of the unit embeddings of ``draws`` copies, each with uniform noise in a ball.

    Gradient: exact, of these copies. Random: the noise. Cost: a forward pass a copy.

    Attributes:
        eps: L-inf radius of the noise, as a fraction of the pixel range.
        draws: copies.

    Raises:
        RequestError: if one is out of range.
    """

    eps: Eps = USUAL_EPS
    draws: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "eps", Eps(self.eps))
        require_linf_length("noise_averaging eps", self.eps)
        require(self.draws >= 1, "noise_averaging draws", self.draws, "1 or more")

    @property
    def views(self) -> int:
        """One a copy."""
        return self.draws

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Mean unit embeddings (N, dim) of ``images`` (N, 3, H, W) in [0, 1]."""
        copies = []
        for copy in range(self.draws):
            noise = noise_of_keys(images.detach(), self.keys(images, copy))
            copies.append((images + self.eps * noise).clamp(0, 1))
        embeddings = F.normalize(undefended.embed(torch.cat(copies)).float(), dim=-1)
        return embeddings.view(self.draws, len(images), -1).mean(0)
