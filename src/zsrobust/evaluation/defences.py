"""What is left of a test-time defence: without attack, as published, and under every attack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
        drawn_clean_acc, drawn_static_acc, drawn_robust_acc: mean over these draws, on clean images
            and, of images made without the defence and of all, on those of the attack that leaves
            fewest right of as many other draws; the figures of a randomised defence. Their
            intervals are over samples.
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
    drawn_static_acc: float | None = None
    ci95_drawn_static: Interval | None = None
    drawn_robust_acc: float | None = None
    ci95_drawn_robust: Interval | None = None
    chosen: dict[str, float] | None = None

    @property
    def figures(self) -> list[tuple[float, Interval] | None]:
        """Clean, static and robust accuracy with intervals; over draws, where the defence draws."""
        drawn = "drawn_" if self.draws else ""
        found = []
        for kind in ("clean", "static", "robust"):
            accuracy = getattr(self, f"{drawn}{kind}_acc")
            interval = getattr(self, f"ci95_{drawn}{kind}")
            found.append(None if accuracy is None else (accuracy, interval))
        return found


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
    static = {name: one for name, one in attacks.items() if not one.adaptive}
    found: dict[str, Any] = {}
    for kind, those in (("clean", {}), ("static", static), ("robust", attacks)):
        if kind == "static" and not those:
            found |= {"static_acc": None, "ci95_static": None}
            continue
        right = np.all([clean, *(one.right for one in those.values())], axis=0)
        found[f"{kind}_acc"] = float(right.mean())
        found[f"ci95_{kind}"] = wilson_interval(int(right.sum()), len(right))
        if on_clean is not None:
            left = _left(those)[0] if those else on_clean
            found[f"drawn_{kind}_acc"] = float(left.mean())
            # Wilson's for as many samples, whose variance is no less than that of shares.
            found[f"ci95_drawn_{kind}"] = wilson_interval(round(float(left.sum())), len(left))
    if on_clean is not None:
        best = _left(attacks)[1]
        found["chosen"] = {name: float((best == at).mean()) for at, name in enumerate(attacks)}
    return DefenceRow(n=len(clean), **found, **about)


def _left(attacks: Mapping[str, Seen]) -> tuple[Shares, NDArray[np.intp]]:
    """Of each sample, (N,), what the judging draws leave of its attack, and which that is."""
    drawn = [one.draws for one in attacks.values() if one.draws is not None]
    choosing, judging = (np.stack(shares) for shares in zip(*drawn, strict=True))
    best = choosing.argmin(0)
    return judging[best, np.arange(judging.shape[1])], best
