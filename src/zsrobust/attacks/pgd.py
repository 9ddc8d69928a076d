"""Projected gradient descent: the loop, and the attacks ``pgd-K`` and ``pgd-K-LOSS``.

Madry et al., "Towards deep learning models resistant to adversarial attacks" (ICLR 2018,
arXiv 1706.06083).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from zsrobust.attacks.base import Attack, refuse_nan, register_attack
from zsrobust.attacks.losses import LOSSES, LossName, likeliest_others, margin
from zsrobust.attacks.threat_model import ROUNDING, ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.errors import NoGradient, RequestError
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.units import format_radius
from zsrobust.utils.validation import check_types, require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

LossFunction = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) to one loss a sample (N,), which the attack makes larger."""


def input_gradient(loss_fn: LossFunction, images: Tensor) -> Tensor:
    """Each sample's own gradient, (N, 3, H, W): the losses are summed, never averaged.

    Raises:
        NoGradient: if the loss has none.
    """
    none = NoGradient(
        "the model has no gradient with respect to the image: nothing in it may be detached, made "
        "integers or under no_grad; attack it without gradients, as with square, if it must be so"
    )
    with torch.enable_grad():
        images = images.detach().requires_grad_(True)
        try:
            loss = loss_fn(images).sum()
        except RuntimeError as error:
            # As torch says where the model goes through numpy.
            if "that requires grad" in str(error):
                raise none from error
            raise
        if not loss.requires_grad:
            raise none
        (gradient,) = torch.autograd.grad(loss, images)
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
        RequestError: if the images are not float32 or lie outside the pixel range.
        Diverged: if a pixel or a gradient is NaN.
    """
    threat.require_images(images)
    images = images.detach()
    adversarial = threat.start(images, noise)
    # torch.sign turns NaN into 0, which would leave the image as it is without a word. The flag
    # stays on the device until the end, so that no step waits for it.
    broken = torch.zeros((), dtype=torch.bool, device=images.device)
    for _ in range(steps):
        gradient = input_gradient(loss_fn, adversarial)
        broken |= gradient.isnan().any()
        adversarial = threat.step(images, adversarial, gradient, step_size)
    refuse_nan(broken, "gradient")
    return adversarial


def pgd_until_wrong(
    logits_fn: Callable[[Tensor], Tensor],
    loss_of_logits: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    aims: Tensor,
    threat: ThreatModel,
    *,
    steps: int,
    step_size: float,
    noise: Tensor | None = None,
) -> Tensor:
    """The same, but each sample stops at its first misclassified iterate and costs no more.

    Args:
        logits_fn: images (M, 3, H, W) to logits (M, C), for any M.
        loss_of_logits: logits (M, C) and aims (M,) to one loss a sample (M,).
        labels: true classes (N,), which give the verdicts.
        aims: the classes (N,) that the loss is about: the labels, or targets.
        images, threat, steps, step_size, noise: as in :func:`pgd`.

    Raises:
        Diverged: if a gradient is NaN.
    """
    images = images.detach()
    adversarial = threat.start(images, noise).clone()
    standing = torch.arange(len(images), device=images.device)
    for _ in range(steps):
        at = adversarial[standing]
        right = torch.zeros_like(standing, dtype=torch.bool)

        def loss_fn(x: Tensor, standing: Tensor = standing, right: Tensor = right) -> Tensor:
            logits = logits_fn(x)
            # One forward pass serves the gradient and the verdict on this iterate.
            right.copy_(logits.argmax(-1) == labels[standing])
            return loss_of_logits(logits, aims[standing])

        gradient = input_gradient(loss_fn, at)
        refuse_nan(gradient.isnan().any(), "gradient")
        standing = standing[right]
        if len(standing) == 0:
            break
        adversarial[standing] = threat.step(images[standing], at[right], gradient[right], step_size)
    return adversarial


LEAST_LEVEL = 0.1
"""An eps below this share of a grey level was hardly meant: 0.0039/255 for 0.0039."""


def doubtful_lengths(norm: str, eps: float, step_size: float, steps: float) -> str:
    """A warning if an attack's radius or steps were hardly meant; empty if there is none.

    Args:
        norm: ``linf`` or ``l2``.
        eps, step_size: radius and length of a step, as fractions of the pixel range.
        steps: how many.
    """
    if eps == 0:
        return ""
    radius, step = format_radius(norm, eps), format_radius(norm, step_size)
    if norm == "linf" and eps < LEAST_LEVEL / 255:
        return f"eps {radius} is {eps * 255:.2g} of one of 255 levels; one level is 1/255 or 0.0039"
    # One step of the default rule is longer than the ball, too.
    if step_size > 2 * eps * (1 + ROUNDING) and not math.isclose(step_size, 2.5 * eps / steps):
        return (
            f"a step of {step} is more than 2 eps, so that each leaps across the ball of {radius}"
        )
    if step_size * steps < eps * (1 - ROUNDING):
        return f"{steps:g} steps of {step} add up to less than eps {radius}: too weak an attack"
    return ""


@register_attack(
    r"pgd-(?P<steps>\d+)(-(?P<loss>margin|dlr|targeted))?",
    *("pgd-10", "pgd-10-margin", "pgd-10-dlr", "pgd-10-targeted"),
)
@dataclass(frozen=True)
class PGD(Attack):
    """PGD on a loss of a zero-shot classifier's logits (Madry et al., ICLR 2018).

    Attributes:
        threat: norm, radius and pixel range.
        steps: gradient steps a start, 1 or more.
        step_size: in units of the pixel range; None for 2.5 eps / steps, which lets the iterate
            cross the ball (Madry et al.'s rule).
        restarts: independent random starts; a sample is attacked again only while correct, and
            gets the result with the highest loss if it stays correct.
        random_start: start uniformly in the ball, else at the image.
        early_stop: stop each sample at its first misclassified iterate, and save the steps.
        logit_scale: scale of the logits the attack differentiates; None for the classifier's.
        seed: keys the random starts, with each sample's id, the epoch and the start's number.
        loss: ``ce`` (cross-entropy), ``margin``, ``dlr`` (from 3 classes on), or ``targeted``:
            cross-entropy towards one other class after the other, each with a start and steps of
            its own while the sample is correct; a sample that stays correct gets the result with
            the highest margin.
        targets: how many other classes ``targeted`` tries, the likeliest first; at most all.

    Raises:
        RequestError: if steps, restarts or targets are below 1, step_size is not above 0 or, in
            ``linf``, the whole pixel range, logit_scale is not above 0, the loss is unknown, or
            several restarts are asked for without a random start.
    """

    options: ClassVar[frozenset[str]] = frozenset(
        {"seed", "step_size", "restarts", "random_start", "early_stop", "logit_scale"}
    )

    threat: ThreatModel
    steps: int = 10
    step_size: float | None = None
    restarts: int = 1
    random_start: bool = True
    early_stop: bool = False
    logit_scale: float | None = None
    seed: int = 0
    loss: LossName = "ce"
    targets: int = 9

    def __post_init__(self) -> None:
        if self.step_size is not None:
            step = self.threat.length("attack.step_size", self.step_size)
            require(step > 0, "attack.step_size", step, "above 0")
            object.__setattr__(self, "step_size", step)
        require(self.loss in LOSSES, "attack.loss", repr(self.loss), " or ".join(LOSSES))
        check_types(self, "attack.")
        for key in ("steps", "restarts", "targets"):
            require(getattr(self, key) >= 1, f"attack.{key}", getattr(self, key), "1 or more")
        scale = self.logit_scale
        require(scale is None or scale > 0, "attack.logit_scale", scale, "above 0")
        if self.restarts > 1 and not self.random_start:
            raise RequestError(
                f"attack.restarts is {self.restarts} but attack.random_start is false: "
                "every restart would be the same; turn random_start on"
            )

    @property
    def name(self) -> str:
        """``pgd-10`` for ten steps on the cross-entropy, ``pgd-10-dlr`` on another loss."""
        return f"pgd-{self.steps}" + ("" if self.loss == "ce" else f"-{self.loss}")

    @property
    def fewest_classes(self) -> int:
        """3 for the DLR loss, else 2."""
        return 3 if self.loss == "dlr" else 2

    @property
    def target_classes(self) -> int:
        """``targets`` for the loss ``targeted``, else 0."""
        return self.targets if self.loss == "targeted" else 0

    @property
    def resolved_step_size(self) -> float:
        """The step size in use, in units of the pixel range."""
        return 2.5 * self.threat.eps / self.steps if self.step_size is None else self.step_size

    @property
    def passes(self) -> int:
        """Two a step, and with several starts one for the verdict on each start's result."""
        verdicts = self._starts if self._starts > 1 else 0
        return int(self.loss == "targeted") + 2 * self.gradients + verdicts

    @property
    def gradients(self) -> int:
        """One a step."""
        return self._starts * self.steps

    @property
    def _starts(self) -> int:
        return self.restarts * (self.targets if self.loss == "targeted" else 1)

    @property
    def doubt(self) -> str:
        """A warning about its lengths, as from :func:`doubtful_lengths`."""
        eps, step_size = self.threat.eps, self.resolved_step_size
        return doubtful_lengths(self.threat.norm, eps, step_size, self.steps)

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the result file."""
        return {
            **super().describe(),
            "step_size": self.resolved_step_size,
            "targets": self.targets if self.loss == "targeted" else None,
            "returns": "first misclassified iterate, else last" if self.early_stop else "last",
        }

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """The last iterate of each sample, or as ``restarts`` and ``early_stop`` say."""
        starts = [
            partial(self._one_start, classifier, images, labels, aims, sample_ids, epoch, number)
            for number, aims in enumerate(self._aims(classifier, images, labels))
        ]
        if len(starts) == 1:
            return starts[0](torch.arange(len(images), device=images.device))
        return worst_of(
            starts,
            lambda x: self._logits(classifier, x),
            # Losses towards different classes do not compare.
            margin if self.loss == "targeted" else LOSSES[self.loss],
            images,
            labels,
        )

    def _aims(self, classifier: ZeroShotClassifier, images: Tensor, labels: Tensor) -> list[Tensor]:
        """For each start the classes (N,) that its loss is about."""
        aims = [labels]
        if self.loss == "targeted":
            with torch.no_grad():
                logits = self._logits(classifier, images)
            aims = likeliest_others(logits, labels, self.targets)
        return aims * self.restarts

    def _one_start(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        aims: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
        number: int,
        rows: Tensor,
    ) -> Tensor:
        images, labels, aims = images[rows], labels[rows], aims[rows]
        noise = None
        if self.random_start:
            ids = [sample_ids[row] for row in rows.tolist()]
            noise = uniform_noise(
                images, ids, seed=self.seed, purpose="pgd", epoch=epoch, restart=number
            )
        if self.early_stop:
            return pgd_until_wrong(
                lambda x: self._logits(classifier, x),
                LOSSES[self.loss],
                images,
                labels,
                aims,
                self.threat,
                steps=self.steps,
                step_size=self.resolved_step_size,
                noise=noise,
            )
        return pgd(
            lambda x: LOSSES[self.loss](self._logits(classifier, x), aims),
            images,
            self.threat,
            steps=self.steps,
            step_size=self.resolved_step_size,
            noise=noise,
        )

    def _logits(self, classifier: ZeroShotClassifier, images: Tensor) -> Tensor:
        logits: Tensor = classifier(images, self.logit_scale)
        return logits
