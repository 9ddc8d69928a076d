"""The mean of a model's results over data sets."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.evaluation.statistics import Interval
from zsrobust.utils.units import format_radius


@dataclass(frozen=True)
class Average:
    """Plain means over data sets of one model under one attack; fields as in ``Row``.

    Attributes:
        over: ``all`` sets, or those ``unseen`` by every model of the evaluation.
        datasets: how many sets the attack is defined on.
        changed: whether the attack was changed for one of them, for lack of classes.
        adaptive: as in ``Row``.
        sampled: whether the robust accuracy of one of them is estimated from a part of the samples.
    """

    over: str
    datasets: int
    changed: bool
    model: str
    attack: str
    norm: str
    eps: float
    clean_acc: float
    robust_acc: float
    ci95_clean: Interval
    ci95_robust: Interval
    adaptive: bool = True
    sampled: bool = False

    @property
    def condition(self) -> str:
        """Attack and radius, such as ``pgd-10 1/255``."""
        return f"{self.attack} {format_radius(self.norm, self.eps)}"
