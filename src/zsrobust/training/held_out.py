"""Model selection: accuracy on the held-out part of the training set, never on a test set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from zsrobust.attacks import PGD
from zsrobust.data.batch import Batch
from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class HeldOut:
    """Accuracies in [0, 1] on held-out images, clean and under attack."""

    clean_acc: float
    robust_acc: float

    @property
    def score(self) -> float:
        """What the selected model has most of: the mean of the two accuracies."""
        return (self.clean_acc + self.robust_acc) / 2


def evaluate_held_out(
    classifier: ZeroShotClassifier,
    batches: Iterable[Batch],
    attack: PGD,
    accelerator: Accelerator,
) -> HeldOut:
    """Accuracy over the batches of all processes, each sample counted once.

    A sample counts as robust where the classifier is right before the attack and after it; only
    those that are right before are attacked. The classifier is left in evaluation mode.
    """
    total = clean = robust = 0
    classifier.eval()
    for loaded in batches:
        batch = loaded.to(accelerator.device)
        with torch.no_grad():
            right = classifier(batch.images).argmax(-1) == batch.labels
        standing = right.nonzero().flatten()
        total += len(batch)
        clean += len(standing)
        if len(standing) == 0:
            continue
        images, labels = batch.images[standing], batch.labels[standing]
        ids = [batch.sample_ids[row] for row in standing.tolist()]
        adversarial = attack(classifier, images, labels, ids)
        with torch.no_grad():
            robust += int((classifier(adversarial).argmax(-1) == labels).sum())
    counts = torch.tensor([total, clean, robust], device=accelerator.device)
    total, clean, robust = accelerator.reduce(counts, "sum").tolist()
    return HeldOut(clean / total, robust / total)
