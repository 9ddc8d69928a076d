"""Clean accuracy on the batches of training: a collapse shows there before the next evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from zsrobust.evaluation.checks.collapse import MOST, is_below

STEPS = 10
"""Steps over which accuracy is taken."""


@dataclass
class BatchAccuracy:
    """What the model has right on the first batch, which the original sees, and on the latest.

    Attributes:
        chance_acc: accuracy of guessing, in [0, 1].
        counts: images that are right and images, of the first batch and the latest ``STEPS``.
    """

    chance_acc: float
    counts: list[list[int]] = field(default_factory=list)

    def count(self, figures: dict[str, float], images: int) -> str:
        """Count the batch of a step; the warning, where there was none after the step before.

        Args:
            figures: of the step; without ``clean_acc`` nothing is counted.
            images: in the batch.
        """
        if "clean_acc" not in figures:
            return ""
        before = self.warning
        self.counts.append([round(figures["clean_acc"] * images), images])
        if len(self.counts) > STEPS + 1:
            del self.counts[1]
        return "" if before else self.warning

    @property
    def warning(self) -> str:
        """A sentence where surely less than half is left of what was above chance; else empty."""
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
