"""Run one model over one data set: predictions and losses, on clean or attacked images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zsrobust.attacks import Attack
from zsrobust.attacks.pgd_attack import cross_entropy
from zsrobust.data.batch import Batch
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import load_batches
from zsrobust.evaluation.outcomes import Outcomes
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.progress import Steps


@dataclass(frozen=True)
class Measurement:
    """A classifier and the images to run it on.

    Attributes:
        classifier: in evaluation mode, on its device.
        images: the data set.
        batch_size: images at once.
        resize, resolution: the loader's resize, and the attack resolution in pixels.
        workers: processes that read images.
        device: where the classifier is.
    """

    classifier: ZeroShotClassifier
    images: ImageSet
    batch_size: int
    resize: str
    resolution: int
    workers: int
    device: torch.device

    @torch.no_grad()
    def clean(self, progress: Steps) -> Outcomes:
        """Outcomes on the images as loaded."""
        outcomes = Outcomes.empty()
        for batch in self._batches(list(range(len(self.images)))):
            logits = self.classifier(batch.images)
            losses = cross_entropy(logits, batch.labels)
            outcomes.extend(batch.sample_ids, batch.labels, logits.argmax(-1), losses)
            progress.advance(len(batch))
        return outcomes

    def under(self, attack: Attack, clean: Outcomes, progress: Steps) -> Outcomes:
        """Outcomes after ``attack``.

        Samples that are wrong before it are not attacked: they count as wrong either way.
        """
        after = Outcomes(
            clean.sample_ids, clean.labels, list(clean.predictions), list(clean.losses)
        )
        standing = [index for index, right in enumerate(clean.right) if right]
        progress.advance(len(clean.right) - len(standing))
        row = iter(standing)
        for batch in self._batches(standing):
            adversarial = attack(self.classifier, batch.images, batch.labels, batch.sample_ids)
            with torch.no_grad():
                logits = self.classifier(adversarial)
                losses = cross_entropy(logits, batch.labels)
            for prediction, loss in zip(logits.argmax(-1).tolist(), losses.tolist(), strict=True):
                index = next(row)
                after.predictions[index], after.losses[index] = prediction, loss
            progress.advance(len(batch))
        return after

    def _batches(self, indices: list[int]) -> Iterator[Batch]:
        size = self.batch_size
        pieces = [indices[at : at + size] for at in range(0, len(indices), size)]
        loaded = load_batches(
            self.images,
            pieces,
            resize=self.resize,
            resolution=self.resolution,
            workers=self.workers,
        )
        return (batch.to(self.device) for batch in loaded)
