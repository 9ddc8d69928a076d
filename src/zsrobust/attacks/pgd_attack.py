"""The attack ``pgd-K``: projected gradient descent on a classifier's cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.noise import uniform_noise
from zsrobust.attacks.pgd import pgd, pgd_until_wrong
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.checks import require
from zsrobust.errors import RequestError
from zsrobust.models.zero_shot import ZeroShotClassifier


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, C) with labels (N,), one value a sample (N,)."""
    return F.cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True)
class PGD:
    """PGD on the cross-entropy of a zero-shot classifier (Madry et al., ICLR 2018).

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
        seed: keys the random starts, with each sample's id, the epoch and the restart.

    Raises:
        RequestError: if steps or restarts are below 1, step_size is not positive, or several
            restarts are asked for without a random start.
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
            require(getattr(self, key) >= 1, f"attack.{key}", getattr(self, key), "1 or more")
        step = self.step_size
        require(step is None or step > 0, "attack.step_size", step, "above 0")
        if self.restarts > 1 and not self.random_start:
            raise RequestError(
                f"attack.restarts is {self.restarts} but attack.random_start is false: "
                "every restart would be the same; turn random_start on"
            )

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
        epoch: int = 0,
    ) -> Tensor:
        """Adversarial images for ``images`` (N, 3, H, W) in [0, 1] with true ``labels`` (N,).

        ``epoch`` gives training a new random start each time it sees a sample. The model is left
        as it was found, and so is the global random state.

        Raises:
            RunError: if a gradient is NaN.
        """
        images = images.detach()
        result = images.clone()
        highest = torch.full((len(images),), -torch.inf, device=images.device)
        standing = torch.arange(len(images), device=images.device)
        with frozen(classifier):
            for restart in range(self.restarts):
                ids = [sample_ids[row] for row in standing.tolist()]
                adversarial = self._one_start(
                    classifier, images[standing], labels[standing], ids, epoch, restart
                )
                if self.restarts == 1:
                    return adversarial
                with torch.no_grad():
                    logits = self._logits(classifier, adversarial)
                loss = cross_entropy(logits, labels[standing])
                fallen = logits.argmax(-1) != labels[standing]
                better = fallen | (loss > highest[standing])
                result[standing[better]] = adversarial[better]
                highest[standing[better]] = loss[better]
                standing = standing[~fallen]
                if len(standing) == 0:
                    break
        return result

    def _one_start(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
        restart: int,
    ) -> Tensor:
        noise = None
        if self.random_start:
            noise = uniform_noise(
                images, sample_ids, seed=self.seed, purpose="pgd", epoch=epoch, restart=restart
            )
        if self.early_stop:
            return pgd_until_wrong(
                lambda x: self._logits(classifier, x),
                cross_entropy,
                images,
                labels,
                self.threat,
                steps=self.steps,
                step_size=self.resolved_step_size,
                noise=noise,
            )
        return pgd(
            lambda x: cross_entropy(self._logits(classifier, x), labels),
            images,
            self.threat,
            steps=self.steps,
            step_size=self.resolved_step_size,
            noise=noise,
        )

    def _logits(self, classifier: ZeroShotClassifier, images: Tensor) -> Tensor:
        return classifier.logits(classifier.embed(images), self.logit_scale)
