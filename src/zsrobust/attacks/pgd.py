"""Projected gradient descent (Madry et al., "Towards deep learning models resistant to
adversarial attacks", ICLR 2018): the core loop, and the attack on a classifier built on it.
"""  # noqa: D205, D209

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.noise import uniform_noise
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.errors import RequestError, RunError
from zsrobust.models.zero_shot import ZeroShotClassifier

LossFunction = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) to one loss a sample (N,), which the attack makes larger."""


def input_gradient(loss_fn: LossFunction, images: Tensor) -> Tensor:
    """Each sample's own gradient, (N, 3, H, W): the losses are summed, never averaged."""
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(loss_fn(images).sum(), images)
    return gradient


def pgd(
    loss_fn: LossFunction,
    images: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    step_size: float,
    noise: Tensor | None = None,
) -> Tensor:
    """Maximise ``loss_fn`` around ``images`` (N, 3, H, W) in [0, 1]; returns the last iterate.

    Args:
        loss_fn: images to one loss a sample. Freeze the model it closes over (``frozen``).
        images: the clean images.
        threat: where the result must lie.
        steps: number of gradient steps.
        step_size: length of a step, as a fraction of the pixel range.
        noise: uniform in [-1, 1), the random start; None starts at the image itself.

    Raises:
        RunError: if a gradient is NaN.
    """
    images = images.detach()
    adversarial = images if noise is None else threat.random_start(images, noise)
    for _ in range(steps):
        adversarial = threat.step(
            images, adversarial, input_gradient(loss_fn, adversarial), step_size
        )
    # The sign of a NaN is a NaN and no projection removes it, so one look at the end is enough.
    if adversarial.isnan().any():
        raise RunError("the attack met a gradient that is not a number; check weights and images")
    return adversarial


@dataclass(frozen=True)
class PGD:
    """PGD on the cross-entropy of a zero-shot classifier.

    Attributes:
        threat: norm, radius and pixel range.
        steps: gradient steps a restart, 1 or more.
        step_size: fraction of the pixel range; None for 2.5 eps / steps, which lets the iterate
            cross the ball (Madry et al.'s rule).
        restarts: independent random starts; a sample is attacked again only while it stands, and
            keeps the iterate with the highest loss if it never falls.
        random_start: start uniformly in the ball, else at the image.
        early_stop: stop each sample at its first misclassified iterate, and save the steps.
        logit_scale: scale of the logits the attack differentiates; None for the classifier's.
        seed: keys the random starts, with each sample's id and the restart.

    Raises:
        RequestError: if steps or restarts are below 1 or step_size is not positive.
    """

    threat: ThreatModel
    steps: int = 10
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    early_stop: bool = False
    logit_scale: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("steps", "restarts"):
            if getattr(self, key) < 1:
                raise RequestError(f"attack.{key} is {getattr(self, key)}: must be 1 or more")
        if self.step_size is not None and not self.step_size > 0:
            raise RequestError(f"attack.step_size is {self.step_size}: must be above 0")

    @property
    def name(self) -> str:
        """``pgd-10`` for ten steps."""
        return f"pgd-{self.steps}"

    @property
    def resolved_step_size(self) -> float:
        """The step size in use, as a fraction of the pixel range."""
        return 2.5 * self.threat.eps / self.steps if self.step_size is None else self.step_size

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the result file."""
        return {
            **asdict(self),
            "name": self.name,
            "loss": "cross-entropy",
            "step_size": self.resolved_step_size,
            "returns": "first misclassified iterate, else last" if self.early_stop else "last",
        }

    def __call__(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
    ) -> Tensor:
        """Adversarial images for ``images`` (N, 3, H, W) in [0, 1] with true ``labels`` (N,).

        The model is left as it was found, and so is the global random state.
        """
        images = images.detach()
        result = images.clone()
        best_loss = torch.full((len(images),), -torch.inf, device=images.device)
        standing = torch.arange(len(images), device=images.device)
        with frozen(classifier):
            for restart in range(self.restarts):
                if len(standing) == 0:
                    break
                adversarial = self._one_start(
                    classifier,
                    images[standing],
                    labels[standing],
                    [sample_ids[row] for row in standing.tolist()],
                    restart,
                )
                if self.restarts == 1:
                    return adversarial
                with torch.no_grad():
                    logits = self._logits(classifier, adversarial)
                loss = F.cross_entropy(logits, labels[standing], reduction="none")
                fallen = logits.argmax(-1) != labels[standing]
                better = fallen | (loss > best_loss[standing])
                result[standing[better]] = adversarial[better]
                best_loss[standing[better]] = loss[better]
                standing = standing[~fallen]
        return result

    def _one_start(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        restart: int,
    ) -> Tensor:
        noise = None
        if self.random_start:
            noise = uniform_noise(
                images, sample_ids, seed=self.seed, purpose="attack", restart=restart
            )
        if not self.early_stop:
            return pgd(
                lambda x: F.cross_entropy(self._logits(classifier, x), labels, reduction="none"),
                images,
                self.threat,
                steps=self.steps,
                step_size=self.resolved_step_size,
                noise=noise,
            )
        return self._stopping_early(classifier, images, labels, noise)

    def _stopping_early(
        self, classifier: ZeroShotClassifier, images: Tensor, labels: Tensor, noise: Tensor | None
    ) -> Tensor:
        result = images if noise is None else self.threat.random_start(images, noise)
        standing = torch.arange(len(images), device=images.device)
        for _ in range(self.steps):
            fallen = torch.empty(0)

            def loss_fn(x: Tensor) -> Tensor:
                nonlocal fallen
                logits = self._logits(classifier, x)
                fallen = logits.argmax(-1) != labels[standing]
                return F.cross_entropy(logits, labels[standing], reduction="none")

            # One step of the core loop on those still standing; those that the forward pass finds
            # fallen keep the iterate they fell at.
            moved = pgd(
                loss_fn,
                images[standing],
                self.threat,
                start=result[standing],
            )
        return result

    def _logits(self, classifier: ZeroShotClassifier, images: Tensor) -> Tensor:
        return classifier.logits(classifier.embed(images), self.logit_scale)
