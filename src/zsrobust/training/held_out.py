"""Model selection: accuracy on the held-out part of the training set, never on a test set."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator

from zsrobust.attacks import PGD
from zsrobust.data.batch import Batch
from zsrobust.evaluation.checks.collapse import collapse
from zsrobust.evaluation.statistics import count_predictions
from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class HeldOut:
    """What a model did on held-out images; nothing where there are none.

    Attributes:
        clean_acc, robust_acc: accuracies in [0, 1], clean and under attack.
        n: images.
        chance_acc, top_class, top_predicted, top_labelled: of the clean predictions, as in
            :class:`zsrobust.evaluation.checks.collapse.Counted`.
        warning: a sentence on how the model has collapsed; empty where it has not.
    """

    clean_acc: float = math.nan
    robust_acc: float = math.nan
    n: int = 0
    chance_acc: float = math.nan
    top_class: str = ""
    top_predicted: float = math.nan
    top_labelled: float = math.nan
    warning: str = ""

    @property
    def score(self) -> float:
        """What the selected model has most of: the mean of the two accuracies."""
        return (self.clean_acc + self.robust_acc) / 2

    def with_warning(self, step: int, original: HeldOut | None) -> HeldOut:
        """The same with its warning, at ``step``, compared with the model before the first."""
        problems = collapse(self, original, "the held-out images")
        clauses = ", and ".join(problem.clause for problem in problems)
        return replace(self, warning=f"at step {step} the model {clauses}" if clauses else "")


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
    clean = robust = 0
    names = classifier.class_names
    counts = torch.zeros(2, len(names), dtype=torch.long)
    classifier.eval()
    for loaded in batches:
        batch = loaded.to(accelerator.device)
        with torch.no_grad():
            predictions = classifier(batch.images).argmax(-1)
        standing = (predictions == batch.labels).nonzero().flatten()
        for count, of in zip(counts, (batch.labels, predictions), strict=True):
            count += of.cpu().bincount(minlength=len(names))
        clean += len(standing)
        if len(standing) == 0:
            continue
        images, labels = batch.images[standing], batch.labels[standing]
        ids = [batch.sample_ids[row] for row in standing.tolist()]
        adversarial = attack(classifier, images, labels, ids)
        with torch.no_grad():
            robust += int((classifier(adversarial).argmax(-1) == labels).sum())
    mine = torch.cat([torch.tensor([clean, robust]), counts.flatten()])
    clean, robust, *all_counts = accelerator.reduce(mine.to(accelerator.device), "sum").tolist()
    labelled, predicted = all_counts[: len(names)], all_counts[len(names) :]
    n = sum(labelled)
    return HeldOut(clean / n, robust / n, n, **count_predictions(labelled, predicted, names))
