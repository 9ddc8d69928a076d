"""How objectives make their adversarial images: PGD on any loss of the model in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.pgd import pgd
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.attacks.samples import require_samples
from zsrobust.data.batch import Batch
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.noise import uniform_noise

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


def against_labels(
    classifier: ZeroShotClassifier,
    batch: Batch,
    attack: PGD,
    epoch: int,
    logit_scale: float | None,
) -> Tensor:
    """Images (N, 3, H, W) that maximise the cross-entropy with the labels at ``logit_scale``."""
    scaled = replace(attack, logit_scale=logit_scale)
    return scaled(classifier, batch.images, batch.labels, batch.sample_ids, epoch)


def away(
    classifier: ZeroShotClassifier,
    loss_of_embeddings: Callable[[Tensor], Tensor],
    batch: Batch,
    attack: PGD,
    epoch: int,
) -> Tensor:
    """Images (N, 3, H, W) that maximise ``loss_of_embeddings``, by the steps of ``attack``.

    The random starts are those the attack itself would take. The model is left as it was found.

    Args:
        classifier: the model in training.
        loss_of_embeddings: raw embeddings (N, dim) of the images to one loss a sample (N,).
        batch: the clean images.
        attack: its threat model, steps, random start and seed; its own loss is not used.
        epoch: gives each pass over the data new random starts.

    Raises:
        RequestError: if images, labels or ids of the batch are not as :class:`Batch` says.
        RunError: if a pixel or a gradient is NaN.
    """
    require_samples(attack.threat, classifier, batch.images, batch.labels, batch.sample_ids)
    noise = None
    if attack.random_start:
        noise = uniform_noise(
            batch.images, batch.sample_ids, seed=attack.seed, purpose="pgd", epoch=epoch
        )
    with frozen(classifier):
        return pgd(
            lambda images: loss_of_embeddings(classifier.embed(images)),
            batch.images,
            attack.threat,
            steps=attack.steps,
            step_size=attack.resolved_step_size,
            noise=noise,
        )


def clean_embeddings(classifier: ZeroShotClassifier, batch: Batch) -> Tensor:
    """The model's own raw embeddings (N, dim) of the clean images, as an attack sees it: fixed."""
    with frozen(classifier), torch.no_grad():
        return classifier.embed(batch.images)
