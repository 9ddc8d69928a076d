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
have one; what is passed over is the cut at the pixel range alone. Each iterate of an attack meets
fresh noise, which averages over draws as the steps go by; with ``eot`` = k each gradient is itself
averaged over k draws, at k times the cost. Logits are those of the image's own draw either way.
No attack here aims at the decision whether to counterattack, so that one made for it may find more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.name_forms import Form
from zsrobust.models.weights import fingerprint
from zsrobust.models.zero_shot import Wrapped, ZeroShotClassifier
from zsrobust.utils.noise import noise_of_keys, pixel_keys
from zsrobust.utils.units import Eps
from zsrobust.utils.validation import require, require_linf_length

Embed = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) to raw embeddings (N, dim)."""


@dataclass(frozen=True)
class Counterattack:
    """How an image is changed before it is embedded.

    From a start x_0 uniform in the ball around x, x_1 ... x_steps climb the squared distance of
    S(x_j) from S(x) by steps of signs, inside the ball and the pixel range. The drift, the distance
    of S(x_0) from S(x) over the length of S(x), decides: below ``tau`` the model sees the mean of
    x_0 ... x_steps with weights proportional to exp(beta j), else x_0. Embeddings are raw ones.

    Attributes:
        eps: L-inf radius of the change, as a fraction of the pixel range.
        steps: how many; 0 leaves x_0.
        step_size: of one step, as a fraction of the pixel range.
        tau: drift below which an image is counterattacked; 0 for none, ``inf`` for all.
        beta: how much more a later x_j weighs; 0 for equal weights.
        eot: draws of the noise that a gradient is averaged over; of no effect on answers.
        seed: of the noise, with the image's pixels.

    Raises:
        RequestError: if one is out of range.
    """

    eps: float = 4 / 255
    steps: int = 2
    step_size: float = 1 / 255
    tau: float = 0.2
    beta: float = 2.0
    eot: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("eps", "step_size"):
            object.__setattr__(self, key, Eps(getattr(self, key)))
            require_linf_length(f"ttc {key}", getattr(self, key))
        for key in ("steps", "tau", "seed"):
            require(getattr(self, key) >= 0, f"ttc {key}", getattr(self, key), "0 or more")
        require(self.step_size > 0, "ttc step_size", self.step_size, "above 0")
        require(0 <= self.beta < float("inf"), "ttc beta", self.beta, "0 or more and finite")
        require(self.eot >= 1, "ttc eot", self.eot, "1 or more")

    @property
    def changed(self) -> str:
        """Options that are not the published ones, such as ``, tau=0.1``."""
        usual = Counterattack()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return "".join(f", {k}={v}" for k, v in values.items() if v != getattr(usual, k))

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


class DefendedClassifier(Wrapped):
    """A zero-shot classifier whose images are counterattacked before they are embedded.

    Args:
        classifier: what is defended; its modules are shared.
        counterattack: how.
        gauge: the image encoder that measures the drift; None for the classifier's own.
    """

    def __init__(
        self, classifier: ZeroShotClassifier, counterattack: Counterattack, gauge: nn.Module | None
    ) -> None:
        super().__init__(classifier)
        self.counterattack = counterattack
        self.gauge = gauge

    def further_settings(self) -> dict[str, object]:
        """The defence with all its parameters, and whose drift it measures."""
        return {"defence": {"name": "ttc", **asdict(self.counterattack), "drift_of": self._drift}}

    def embed(self, images: Tensor) -> Tensor:
        """Raw embeddings (N, dim) of the counterattacked ``images`` (N, 3, H, W) in [0, 1].

        The gradient is straight-through, and the mean over ``eot`` draws.
        """
        tracked = torch.is_grad_enabled() and images.requires_grad
        draws = self.counterattack.eot if tracked else 1
        moved = torch.cat([self._moved(images.detach(), draw) for draw in range(draws)])
        if tracked:
            # The values are those of ``moved``, the gradient that of the images.
            moved = moved + (images - images.detach()).repeat(draws, 1, 1, 1)
        own, *others = torch.tensor_split(super().embed(moved), draws)
        if not others:
            return own
        mean = torch.stack([own, *others]).mean(0)
        return own.detach() + (mean - mean.detach())

    def _moved(self, images: Tensor, draw: int) -> Tensor:
        keys = pixel_keys(images, seed=self.counterattack.seed, purpose="ttc", restart=draw)
        measure = None if self.gauge is None else self._measured
        return self.counterattack.moved(images, noise_of_keys(images, keys), super().embed, measure)

    def _measured(self, images: Tensor) -> Tensor:
        assert self.gauge is not None
        embeddings: Tensor = self.gauge(self.preprocessing(images))
        return embeddings

    @cached_property
    def _drift(self) -> str:
        return "the model itself" if self.gauge is None else fingerprint(self.gauge)


@dataclass(frozen=True)
class TTC:
    """The defence of one model.

    Attributes:
        undefended: the model.
        counterattack: how images are changed.
        gauge: as in :class:`DefendedClassifier`.
    """

    undefended: CLIPModel
    counterattack: Counterattack
    gauge: nn.Module | None = None

    def around(self, classifier: ZeroShotClassifier) -> DefendedClassifier:
        """``classifier`` behind the defence; it shares the image encoder."""
        return DefendedClassifier(classifier, self.counterattack, self.gauge)


def load_ttc(form: Form, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model ``ttc(MODEL)``, with :class:`Counterattack`'s parameters as options.

    MODEL's parameters are frozen. Where it was fine-tuned, the drift is measured with the original
    it was fine-tuned from, as the released code does: ``tau`` was chosen for that one.

    Args:
        form: the name.
        load: loads MODEL by name, and its original.

    Raises:
        RequestError: if an option is unknown or out of range, or MODEL is defended already.
    """
    readers = {"eps": Eps, "steps": int, "step_size": Eps, "tau": float, "beta": float}
    counterattack = Counterattack(**form.read_options({**readers, "eot": int, "seed": int}))
    undefended = replace(load(form.model), name=form.model)
    undefended.require_undefended("another defence")
    undefended.encoder.requires_grad_(False)
    gauge = None
    if undefended.method != "original":
        gauge = load(undefended.source).encoder.requires_grad_(False)
    return replace(
        undefended,
        name=form.name,
        method=f"ttc({undefended.method}{counterattack.changed})",
        defence=TTC(undefended, counterattack, gauge),
    )
