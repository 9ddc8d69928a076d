"""CLIPure-Cos, ``clipure(MODEL)``: the embedding is moved towards that of a prompt without a name.

Zhang et al., "CLIPure: Purification in Latent Space via CLIP" (ICLR 2025, arXiv 2502.18176),
algorithm 1 with the cosine as log-likelihood, as in the released code but for two points:

- there a step is divided by the norm of the gradients of the whole batch, so that an image's answer
  depends on the batch and a step of 30 is one of 30 / sqrt(N); here every image has its own, which
  is theirs for batches of one;
- there the gradient inside a step is a constant to an attacker. Here the attacker's gradient passes
  through it, unless ``through`` is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import Defence, register_defence
from zsrobust.models.text_side import class_vectors
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.validation import require

_LEAST = 1e-12


@register_defence("clipure")
@dataclass(frozen=True)
class Clipure(Defence):
    """Steps of ``length`` along the gradient of the cosine with the prompts without a class name.

    With u the unit embedding and t the mean of the unit embeddings of the templates with an empty
    name, one step is u + length * g / ||g||, scaled to unit length, for g = t - (t . u) u, the
    gradient of the cosine on the sphere up to its positive factor.

    Gradient: exact, or with ``through=0`` that of the released code. Random: nothing. Cost: one
    forward pass.

    Attributes:
        steps: how many.
        length: of each, before the result is scaled to unit length.
        through: 1 to let an attacker's gradient pass through the steps' directions, 0 to take those
            for constants as the released code does.

    Raises:
        RequestError: if one is out of range.
    """

    steps: int = 10
    length: float = 30.0
    through: int = 1

    def __post_init__(self) -> None:
        require(self.steps >= 0, "clipure steps", self.steps, "0 or more")
        require(0 < self.length < float("inf"), "clipure length", self.length, "above 0")
        require(self.through in (0, 1), "clipure through", self.through, "0 or 1")

    @property
    def views(self) -> int:
        """One: purification needs the embedding alone."""
        return 1

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Unit embeddings (N, dim), purified, of ``images`` (N, 3, H, W) in [0, 1]."""
        target = class_vectors(model.text, [""], undefended.templates).to(images.device)[0]
        return self.purified(F.normalize(undefended.embed(images).float(), dim=-1), target)

    def purified(self, unit: Tensor, target: Tensor) -> Tensor:
        """Unit embeddings (N, dim) after all steps towards ``target`` (dim,)."""
        for _ in range(self.steps):
            along = target - (unit @ target)[:, None] * unit
            direction = along / along.norm(dim=-1, keepdim=True).clamp_min(_LEAST)
            if not self.through:
                direction = direction.detach()
            unit = F.normalize(unit + self.length * direction, dim=-1)
        return unit
