"""A model and a few samples that it classifies correctly: what the sanity checks attack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd import input_gradient, pgd
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.noise import uniform_noise


@torch.no_grad()
def random_search(probe: Probe, score: Callable[[Tensor], Tensor], queries: int) -> Tensor:
    """Images (N, 3, H, W) of the threat model with a ``score`` (N,) as high as was found.

    Each query repaints one square a sample with signs of size eps, and keeps it if that helps.
    """
    images, eps = probe.images, probe.threat.eps
    height, width = images.shape[-2:]
    signs = uniform_noise(images, probe.sample_ids, seed=probe.seed, purpose="search start").sign()
    # Stripes of one sign a column: the start that Square found strongest.
    best = probe.threat.project(images, images + eps * signs[:, :, :1, :])
    highest = score(best)
    rows = torch.arange(height, device=images.device)[None, :, None]
    columns = torch.arange(width, device=images.device)[None, None, :]
    for query in range(queries):
        # Squares shrink from half the area to one in a hundred.
        side = max(1, round((0.5 * 0.02 ** (query / queries) * height * width) ** 0.5))
        draw = uniform_noise(
            images[:, :1, :1, :1].expand(-1, 5, 1, 1).contiguous(),
            probe.sample_ids,
            seed=probe.seed,
            purpose="search",
            restart=query,
        )
        top = ((draw[:, 3] + 1) / 2 * max(1, height - side + 1)).long()
        left = ((draw[:, 4] + 1) / 2 * max(1, width - side + 1)).long()
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        painted = images + eps * draw[:, :3].sign()
        candidate = probe.threat.project(images, torch.where(inside[:, None], painted, best))
        found = score(candidate)
        better = found > highest
        best = torch.where(better[:, None, None, None], candidate, best)
        highest = torch.where(better, found, highest)
    return best


BATCH = 32
SURE = 0.01

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits (N, C) and labels (N,) to one loss a sample (N,)."""


@dataclass(frozen=True)
class Probe:
    """A frozen model, samples it classifies correctly, and a threat model to attack them within.

    Attributes:
        model: images in [0, 1], shape (N, 3, H, W), to logits (N, C); nothing else is asked of it.
        images, labels, sample_ids: N samples that the model has right.
        threat: the threat model of the evaluation.
        seed: keys every random number.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    sample_ids: Sequence[str]
    threat: ThreatModel
    seed: int
    _attacked: dict[tuple[object, ...], Tensor] = field(default_factory=dict, repr=False)

    def at(self, eps: float) -> ThreatModel:
        """The threat model with another radius."""
        return replace(self.threat, eps=eps)

    def differentiable(self, images: Tensor) -> Tensor:
        """Logits (N, C) in fp32, with a graph where one is recorded."""
        logits: Tensor = self.model(images).float()
        return logits

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits (N, C) in fp32."""
        return in_batches(self.differentiable, images)

    def fallen(self, images: Tensor) -> Tensor:
        """Which of ``images`` (N, 3, H, W) the model has wrong, (N,) of bool."""
        return self.logits(images).argmax(-1) != self.labels

    def losses(self, images: Tensor) -> Tensor:
        """Cross-entropy of ``images`` (N, 3, H, W), (N,)."""
        return cross_entropy(self.logits(images), self.labels)

    def gradient(self, images: Tensor, loss: Loss) -> Tensor:
        """Gradient of ``loss`` at ``images``, (N, 3, H, W)."""

        def of_batch(images: Tensor, labels: Tensor) -> Tensor:
            return input_gradient(lambda x: loss(self.differentiable(x), labels), images)

        return in_batches(of_batch, images, self.labels)

    def attacked(
        self, steps: int, *, threat: ThreatModel | None = None, loss: Loss = cross_entropy
    ) -> Tensor:
        """PGD's last iterates (N, 3, H, W); 0 steps is its random start. Computed once each.

        Raises:
            RunError: if a gradient is NaN.
        """
        threat = threat or self.threat
        key = (steps, threat, loss)
        if key not in self._attacked:
            self._attacked[key] = self._pgd(steps, threat, loss)
        return self._attacked[key]

    def _pgd(self, steps: int, threat: ThreatModel, loss: Loss) -> Tensor:
        noise = uniform_noise(self.images, self.sample_ids, seed=self.seed, purpose="sanity")

        def on_batch(images: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
            return pgd(
                lambda x: loss(self.differentiable(x), labels),
                images,
                threat,
                steps=steps,
                step_size=2.5 * threat.eps / max(1, steps),
                noise=noise,
            )

        return in_batches(on_batch, self.images, self.labels, noise)


def in_batches(compute: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``compute`` of ``tensors`` (N, ...), few samples at a time, its results (N, ...) joined."""
    starts = range(0, len(tensors[0]), BATCH)
    return torch.cat([compute(*(whole[at : at + BATCH] for whole in tensors)) for at in starts])


def significantly_more(first: Tensor, second: Tensor) -> bool:
    """Whether ``first`` holds for more samples than ``second`` (N,) beyond chance.

    A one-sided sign test on the samples where the two differ, at 1 %.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differ = only_first + only_second
    if differ == 0:
        return False
    return bool(binomtest(only_first, differ, alternative="greater").pvalue < SURE)


def spread(logits: Tensor) -> Tensor:
    """Highest less lowest logit of each sample, (N,)."""
    return logits.amax(-1) - logits.amin(-1)


def rescaled_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy (N,) of logits brought to a spread of 10: neither flat nor full."""
    # Finite where all logits are equal, too.
    factor = 10 / spread(logits.detach()).clamp_min(1e-12)
    return cross_entropy(logits * factor[:, None], labels)
