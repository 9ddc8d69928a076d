"""SCC, ``scc(MODEL)``: an image is moved towards a pseudo-label that its views agree on.

Liu et al., "Self-Calibrated Consistency can Fight Back for Adversarial Robustness in
Vision-Language Models" (arXiv 2510.22785). No code of it was found; ``docs/fidelity.md`` says what
is read into the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import RandomisedDefence, register_defence
from zsrobust.models.defences.ttc import Counterattack
from zsrobust.models.random_views import gaussian_noise
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.noise import noise_of_keys
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import require, require_linf_length

USUAL_EPS, USUAL_STEP_SIZE = Eps("4/255"), Eps("1/255")


@register_defence("scc")
@dataclass(frozen=True)
class Scc(RandomisedDefence):
    """Steps of signs that climb a margin between classes, and the mean logits of views.

    A counterattack (TTC) of ``warmup`` steps moves the image x to w. The mean of the softmax of
    w's views, sharpened, to the power 1 / ``temperature``, weighs the class vectors: their mean is
    the soft prototype; the label is that of w itself. From x, ``steps`` climb the cosine with the
    prototype less the highest cosine with a class that is not the label, in the ball and the pixel
    range. The answer is the mean of the logits of the result's views. Views are the image itself,
    it flipped, it with normal noise, and so on in turn.

    Gradient: straight-through, exact in the last views. Random: the warm-up's start, and noise.
    Cost: forward passes for x, the warm-up's start, and twice the views; and a forward and a
    backward pass a step, those of the warm-up included.

    Attributes:
        eps: L-inf radius of both changes, as a fraction of the pixel range.
        warmup: steps of the counterattack.
        steps: steps of the ascent.
        step_size: of either, as a fraction of the pixel range.
        tau: as of TTC, drift below which an image is counterattacked.
        augmented: views.
        deviation: of their noise, as a fraction of the pixel range.
        temperature: of the mean prediction; below 1 sharpens.

    Raises:
        RequestError: if one is out of range.
    """

    eps: Eps = USUAL_EPS
    warmup: int = 2
    steps: int = 4
    step_size: Eps = USUAL_STEP_SIZE
    tau: float = 0.2
    augmented: int = 4
    deviation: float = 0.01
    temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("eps", "step_size"):
            object.__setattr__(self, key, Eps(getattr(self, key)))
            require_linf_length(f"scc {key}", getattr(self, key))
        require(self.step_size > 0, "scc step_size", self.step_size, "above 0")
        for key in ("warmup", "steps", "tau"):
            require(getattr(self, key) >= 0, f"scc {key}", getattr(self, key), "0 or more")
        require(self.augmented >= 1, "scc augmented", self.augmented, "1 or more")
        require(0 <= self.deviation < 1, "scc deviation", self.deviation, "from 0, below 1")
        require(0 < self.temperature <= 1, "scc temperature", self.temperature, "above 0, up to 1")

    @property
    def views(self) -> int:
        """The image, its start, the views before and after, and the steps."""
        return 2 + self.warmup + self.steps + 2 * self.augmented

    @property
    def backward_views(self) -> int:
        """One a step."""
        return self.warmup + self.steps

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Mean unit embeddings (N, dim) of the views of ``images`` (N, 3, H, W) in [0, 1]."""
        return self._units(undefended, images).mean(0)

    def logits(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Mean logits (N, C) of the views of ``images`` (N, 3, H, W) in [0, 1]."""
        units = self._units(undefended, images)
        logits = undefended.logits(units.flatten(0, 1))
        return logits.view(self.augmented, len(images), -1).mean(0)

    def _units(self, undefended: ZeroShotClassifier, images: Tensor) -> Tensor:
        """Unit embeddings (V, N, dim) of the views of the corrected images."""
        given = images.detach()
        corrected = self.corrected(undefended, given)
        # The values are those of ``corrected``, the gradient that of the images.
        moved = corrected + (images - given)
        return _unit_embeddings(undefended, self.seen(moved, given, 1 + self.augmented))

    @torch.no_grad()
    def corrected(self, undefended: ZeroShotClassifier, images: Tensor) -> Tensor:
        """Where ``images`` (N, 3, H, W) are moved to."""
        counterattack = Counterattack(self.eps, self.warmup, self.step_size, self.tau)
        noise = noise_of_keys(images, self.keys(images, 0))
        warm = counterattack.moved(images, noise, undefended.embed, None)
        classes = undefended.class_embeddings
        units = _unit_embeddings(undefended, self.seen(warm, images, 1))
        chances = undefended.logits(units.flatten(0, 1)).view(*units.shape[:2], -1).softmax(-1)
        sharpened = (chances.mean(0).log() / self.temperature).softmax(-1)
        prototypes = F.normalize(sharpened @ classes, dim=-1)
        labels = F.one_hot((units[0] @ classes.T).argmax(-1), len(classes)).bool()
        lowest, highest = (images - self.eps).clamp_min(0), (images + self.eps).clamp_max(1)
        moved = images
        for _ in range(self.steps):
            with torch.enable_grad():
                moved = moved.detach().requires_grad_(True)
                (unit,) = _unit_embeddings(undefended, [moved])
                others = (unit @ classes.T).masked_fill(labels, -torch.inf).amax(-1)
                margin = (unit * prototypes).sum(-1) - others
                (gradient,) = torch.autograd.grad(margin.sum(), moved)
            moved = (moved.detach() + self.step_size * gradient.sign()).clamp(lowest, highest)
        return moved

    def seen(self, images: Tensor, given: Tensor, number: int) -> list[Tensor]:
        """Views of ``images``, each (N, 3, H, W); ``given`` and ``number`` decide their noise."""
        views = []
        for view in range(self.augmented):
            seen = images.flip(-1) if view % 2 else images
            if view >= 2:
                noise = gaussian_noise(given, self.keys(given, number + view))
                seen = (seen + self.deviation * noise).clamp(0, 1)
            views.append(seen)
        return views


def _unit_embeddings(undefended: ZeroShotClassifier, views: list[Tensor]) -> Tensor:
    """Unit embeddings (V, N, dim) of views, each (N, 3, H, W)."""
    found = F.normalize(undefended.embed(torch.cat(views)).float(), dim=-1)
    return found.view(len(views), len(views[0]), -1)
