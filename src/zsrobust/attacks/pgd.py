"""Projected gradient descent (Madry et al., "Towards deep learning models resistant to
adversarial attacks", ICLR 2018): the core loop that every iterative method here is built on.
"""

from __future__ import annotations

from collections.abc import Callable

from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.errors import Diverged
from zsrobust.utils.lazy import Tensor, torch

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


def refuse_nan(broken: Tensor, what: str) -> None:
    """Stop an attack that met ``what`` (a gradient, a logit) without a value.

    Raises:
        Diverged: if ``broken`` is true.
    """
    if broken:
        raise Diverged(f"the attack met a {what} that is not a number; check weights and images")
