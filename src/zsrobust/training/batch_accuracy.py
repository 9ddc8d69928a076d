"""Accuracy on the batches of training: a collapse shows there before the next evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import binomtest, entropy

from zsrobust.evaluation.checks.collapse import LEVEL, MOST, is_below

STEPS = 10
"""Steps over which clean accuracy is taken."""
ADVERSARIAL_STEPS = 30
"""Steps over which loss and accuracy on adversarial images are taken."""
NEAR = 0.05
"""How far from that of guessing a loss may be, as a share of it."""


@dataclass
class BatchAccuracy:
    """What the model has right on the first batch, which the original sees, and on the latest.

    Of methods that see no clean images it is loss and accuracy on the adversarial ones: a model
    that gives every image the same prediction has the loss of guessing. One that is merely not
    robust has a much higher loss.

    Attributes:
        chance_acc: accuracy of guessing, in [0, 1].
        counts: images that are right and images, of the first batch and the latest ``STEPS``.
        top_share: share of the most frequent label, in [0, 1].
        chance_loss: cross-entropy of guessing by the frequency of labels: their entropy, log C
            where C classes are equally frequent.
        adversarial: loss, images that are right, and images, of the latest ``ADVERSARIAL_STEPS``.
    """

    chance_acc: float
    counts: list[list[int]] = field(default_factory=list)
    top_share: float = 1.0
    chance_loss: float = 0.0
    adversarial: list[list[float]] = field(default_factory=list)

    @classmethod
    def on(cls, labels: Sequence[int], classes: int) -> BatchAccuracy:
        """Of training on images with these labels (N,)."""
        shares = np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes) / len(labels)
        return cls(1 / classes, top_share=float(shares.max()), chance_loss=float(entropy(shares)))

    def count(self, figures: dict[str, float], images: int) -> str:
        """Count the batch of a step; the warning, where there was none after the step before.

        Args:
            figures: of the step; without ``clean_acc`` and ``adversarial_loss`` nothing is counted.
            images: in the batch.
        """
        before = self.warning
        if "clean_acc" in figures:
            self.counts.append([round(figures["clean_acc"] * images), images])
            if len(self.counts) > STEPS + 1:
                del self.counts[1]
        elif "adversarial_loss" in figures:
            right = round(figures["adversarial_acc"] * images)
            self.adversarial.append([figures["adversarial_loss"], right, images])
            del self.adversarial[:-ADVERSARIAL_STEPS]
        return "" if before else self.warning

    @property
    def warning(self) -> str:
        """A sentence where surely less than half is left of what was above chance; else empty.

        Without clean images: where loss and accuracy are those of guessing.
        """
        if len(self.adversarial) >= ADVERSARIAL_STEPS:
            return self._guessing()
        if len(self.counts) <= STEPS:
            return ""
        first, now = self._share(self.counts[:1]), self._share(self.counts[1:])
        if not is_below(now, first, MOST):
            return ""
        return (
            f"on the training batches of the last {STEPS} steps clean accuracy is "
            f"{now.clean_acc:.1%} (chance {self.chance_acc:.1%}), where the original has "
            f"{first.clean_acc:.1%} on the first"
        )

    def _guessing(self) -> str:
        losses, right, images = np.asarray(self.adversarial).T
        loss, rights, n = float(losses @ images / images.sum()), int(right.sum()), int(images.sum())
        above = binomtest(rights, n, self.top_share, alternative="greater").pvalue < LEVEL
        if above or not abs(loss - self.chance_loss) <= NEAR * self.chance_loss:
            return ""
        return (
            f"on the adversarial training batches of the last {ADVERSARIAL_STEPS} steps the model "
            f"does no better than guessing: cross-entropy {loss:.2f} (guessing "
            f"{self.chance_loss:.2f}), accuracy {rights / n:.1%} (guessing {self.top_share:.1%})"
        )

    def _share(self, counts: list[list[int]]) -> _Share:
        right, n = (sum(column) for column in zip(*counts, strict=True))
        return _Share(n, right / n, self.chance_acc)


@dataclass(frozen=True)
class _Share:
    """As :class:`zsrobust.evaluation.checks.collapse.Counted`, without the classes predicted."""

    n: int
    clean_acc: float
    chance_acc: float
    top_class: str = ""
    top_predicted: float = 0.0
    top_labelled: float = 0.0
