"""What is left of a test-time defence: without attack, as published, and under every attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsrobust.evaluation.statistics import Interval, Outcome, wilson_interval

Shares = NDArray[np.float64]
"""Of each of N samples, the share of draws that are right."""


@dataclass(frozen=True)
class DefenceRow:
    """One model on one data set at one radius, under all attacks of the evaluation.

    Attributes:
        model, dataset, norm, eps, n: as in ``Row``.
        clean_acc, ci95_clean: without attack.
        static_acc, ci95_static: right on the clean image and on every image that was made without
            the model's defence, as most publications have it; None where there were none.
        robust_acc, ci95_robust: right on the clean image and under every attack.
        draws: random draws by which a randomised defence was judged besides the image's own; 0 for
            none.
        drawn_clean_acc, drawn_robust_acc: mean over these draws, on clean images and under the
            attack that leaves fewest right of as many other draws; the figures of a randomised
            defence. Their intervals are over samples.
        chosen: by attack, the share of the samples on which it was that one.
    """

    model: str
    dataset: str
    norm: str
    eps: float
    n: int
    clean_acc: float
    ci95_clean: Interval
    static_acc: float | None
    ci95_static: Interval | None
    robust_acc: float
    ci95_robust: Interval
    draws: int = 0
    drawn_clean_acc: float | None = None
    ci95_drawn_clean: Interval | None = None
    drawn_robust_acc: float | None = None
    ci95_drawn_robust: Interval | None = None
    chosen: dict[str, float] | None = None

    @property
    def figures(self) -> tuple[tuple[float, Interval], tuple[float, Interval]]:
        """Clean and robust accuracy with intervals: over draws, where the defence draws."""
        if self.drawn_clean_acc is None or self.drawn_robust_acc is None:
            return (self.clean_acc, self.ci95_clean), (self.robust_acc, self.ci95_robust)
        assert self.ci95_drawn_clean is not None
        assert self.ci95_drawn_robust is not None
        return (
            (self.drawn_clean_acc, self.ci95_drawn_clean),
            (self.drawn_robust_acc, self.ci95_drawn_robust),
        )


@dataclass(frozen=True)
class Seen:
    """What one attack left of N samples.

    Attributes:
        adaptive: whether its images were made with the defence.
        right: (N,) whether each is right before the attack and after, by its own draw.
        draws: of a randomised defence what is left of either set of draws, (N,) each: that by
            which attacks are chosen, and that by which they are judged.
    """

    adaptive: bool
    right: Outcome
    draws: tuple[Shares, Shares] | None = None


def summarise(
    clean: Outcome,
    attacks: Mapping[str, Seen],
    on_clean: Shares | None = None,
    **about: Any,
) -> DefenceRow:
    """The row of one model on N samples at one radius.

    Args:
        clean: (N,) whether each is right without attack.
        attacks: by name, one or more.
        on_clean: (N,) the share of the judging draws that is right without attack; None for a
            defence that draws nothing.
        about: the other fields.
    """
    static = [one for one in attacks.values() if not one.adaptive]
    clean_acc, ci95_clean = _standing(clean, [])
    static_acc, ci95_static = _standing(clean, static) if static else (None, None)
    robust_acc, ci95_robust = _standing(clean, list(attacks.values()))
    row = DefenceRow(
        n=len(clean),
        clean_acc=clean_acc,
        ci95_clean=ci95_clean,
        static_acc=static_acc,
        ci95_static=ci95_static,
        robust_acc=robust_acc,
        ci95_robust=ci95_robust,
        **about,
    )
    drawn = [one.draws for one in attacks.values() if one.draws is not None]
    if on_clean is None or not drawn:
        return row
    choosing, judging = (np.stack(shares) for shares in zip(*drawn, strict=True))
    best = choosing.argmin(0)
    left = judging[best, np.arange(len(clean))]
    return replace(
        row,
        drawn_clean_acc=float(on_clean.mean()),
        ci95_drawn_clean=_interval(on_clean),
        drawn_robust_acc=float(left.mean()),
        ci95_drawn_robust=_interval(left),
        chosen={name: float((best == at).mean()) for at, name in enumerate(attacks)},
    )


def _standing(clean: Outcome, attacks: Sequence[Seen]) -> tuple[float, Interval]:
    right = np.all([clean, *(one.right for one in attacks)], axis=0)
    return float(right.mean()), wilson_interval(int(right.sum()), len(right))


def _interval(shares: Shares) -> Interval:
    """Of a mean of shares: Wilson's for as many samples, whose variance is no less than theirs."""
    return wilson_interval(round(float(shares.sum())), len(shares))
