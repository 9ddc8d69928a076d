"""TTC, the test-time counterattack: ``ttc(MODEL)`` moves an image away from its own embedding.

Xing, Zhao and Sebe, "CLIP is Strong Enough to Fight Back" (CVPR 2025, arXiv 2503.03613), as their
released code does it. Adversarial images are "falsely stable": noise hardly moves their embedding.
So an image x whose embedding noise moves by less than ``tau`` is pushed, within ``eps`` of where it
is, to where its embedding is far from S(x); of any other the noise alone is added. ``tau`` and
``beta`` are explained at :class:`Counterattack`.

**The noise** is keyed by the image's own pixels, so that an image has one answer, independent of
the batch and the order, and two images, however near, get independent noise, as in the published
defence, which draws anew for every query.

- *The attacker gains* that the answer to the very image he hands in is known beforehand. An attack
  that returns the best of its iterates or queries (APGD, FAB, Square) therefore returns lucky
  draws, too, where PGD's last iterate has not been chosen for its draw. Accuracy under such an
  attack is the worst case over many draws; a defence that draws anew has a higher accuracy.
  ``transfer(A, ttc(MODEL, seed=1))`` on ``ttc(MODEL)`` shows what A found to other draws, as such
  a defence would.
- *The attacker loses* nothing: seed and defence are known to him.

**The gradient** passes through the defence as if the counter-perturbation were a constant
(Athalye, Carlini and Wagner, ICML 2018, arXiv 1802.00420: straight-through). The counter-
perturbation is made of signs, of noise and of a yes or no, whose derivatives are zero wherever they
have one; what is passed over is the cut at the pixel range alone. No attack here aims at the
decision whether to counterattack, so that one made for it may find more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import RandomisedDefence, register_defence
from zsrobust.models.weights import fingerprint
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.noise import noise_of_keys
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import require, require_linf_length

Embed = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) to raw embeddings (N, dim)."""

USUAL_EPS, USUAL_STEP_SIZE = Eps("4/255"), Eps("1/255")


@register_defence("ttc")
@dataclass(frozen=True)
class Counterattack(RandomisedDefence):
    """How an image is changed before it is embedded.

    From a start x_0 uniform in the ball around x, x_1 ... x_steps climb the squared distance of
    S(x_j) from S(x) by steps of signs, inside the ball and the pixel range. The drift, the distance
    of S(x_0) from S(x) over the length of S(x), decides: below ``tau`` the model sees the mean of
    x_0 ... x_steps with weights proportional to exp(beta j), else x_0. Embeddings are raw ones.

    Gradient: straight-through. Random: x_0. Cost: forward passes for x, x_0 and the result, and for
    an image that is counterattacked a forward and a backward pass a step.

    Attributes:
        eps: L-inf radius of the change, as a fraction of the pixel range.
        steps: how many; 0 leaves x_0.
        step_size: of one step, as a fraction of the pixel range.
        tau: drift below which an image is counterattacked; 0 for none, ``inf`` for all.
        beta: how much more a later x_j weighs; 0 for equal weights.
        gauge: the image encoder that measures the drift; None for the defended one.

    Raises:
        RequestError: if one is out of range.
    """

    eps: Eps = USUAL_EPS
    steps: int = 2
    step_size: Eps = USUAL_STEP_SIZE
    tau: float = 0.2
    beta: float = 2.0
    gauge: nn.Module | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("eps", "step_size"):
            object.__setattr__(self, key, Eps(getattr(self, key)))
            require_linf_length(f"ttc {key}", getattr(self, key))
        for key in ("steps", "tau"):
            require(getattr(self, key) >= 0, f"ttc {key}", getattr(self, key), "0 or more")
        require(self.step_size > 0, "ttc step_size", self.step_size, "above 0")
        require(0 <= self.beta < float("inf"), "ttc beta", self.beta, "0 or more and finite")

    def bound(self, model: CLIPModel, load: Callable[[str], CLIPModel]) -> Counterattack:
        """With the drift measured by the original of ``model``, if that was fine-tuned.

        As the released code does: ``tau`` was chosen for the original.
        """
        if model.method == "original":
            return self
        return replace(self, gauge=load(model.source).encoder.requires_grad_(False))

    @property
    def views(self) -> int:
        """The image, its start, the result, the steps, and once more the image for a gauge."""
        return 3 + self.steps + (self.gauge is not None)

    @property
    def backward_views(self) -> int:
        """One a step."""
        return self.steps

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The gauge."""
        return () if self.gauge is None else (self.gauge,)

    @property
    def settings(self) -> dict[str, object]:
        """As of every defence, and whose drift is measured."""
        return {**super().settings, "drift_of": self._drift_of}

    @cached_property
    def _drift_of(self) -> str:
        return "the model itself" if self.gauge is None else fingerprint(self.gauge)

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Raw embeddings (N, dim) of the counterattacked ``images`` (N, 3, H, W) in [0, 1]."""
        given, measure = images.detach(), None
        if self.gauge is not None:
            gauge = self.gauge

            def measure(images: Tensor) -> Tensor:
                embeddings: Tensor = gauge(undefended.preprocessing(images))
                return embeddings

        noise = noise_of_keys(given, self.keys(given, 0))
        moved = self.moved(given, noise, undefended.embed, measure)
        # The values are those of ``moved``, the gradient that of the images.
        return undefended.embed(moved + (images - given))

    @torch.no_grad()
    def moved(self, images: Tensor, noise: Tensor, embed: Embed, measure: Embed | None) -> Tensor:
        """Where ``images`` (N, 3, H, W) in [0, 1] are moved to, the same shape.

        Args:
            images: what the defence is given.
            noise: uniform in [-1, 1), (N, 3, H, W).
            embed: the defended encoder.
            measure: the encoder that the drift is measured with; None for ``embed``.
        """
        lowest = (images - self.eps).clamp_min(0)
        highest = (images + self.eps).clamp_max(1)
        start = (images + self.eps * noise).clamp(lowest, highest)
        before, after = (measure or embed)(torch.cat([images, start])).chunk(2)
        drift = (after - before).norm(dim=-1) / before.norm(dim=-1)
        rows = (drift < self.tau).nonzero()[:, 0]
        if len(rows) == 0:
            return start
        anchor = before[rows] if measure is None else embed(images[rows])
        path = [start[rows]]
        for _ in range(self.steps):
            ascent = self.step_size * _gradient(path[-1], anchor, embed).sign()
            path.append((path[-1] + ascent).clamp(lowest[rows], highest[rows]))
        weights = torch.softmax(self.beta * torch.arange(len(path), device=images.device), 0)
        mean = torch.stack(path).mul(weights[:, None, None, None, None]).sum(0)
        # Of points in the ball, but for rounding.
        return start.index_copy(0, rows, mean.clamp(lowest[rows], highest[rows]))


def _gradient(images: Tensor, anchor: Tensor, embed: Embed) -> Tensor:
    """Of each image's squared distance to its ``anchor`` (N, dim), (N, 3, H, W)."""
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        distance = (embed(images) - anchor).square().sum()
        (gradient,) = torch.autograd.grad(distance, images)
    return gradient
