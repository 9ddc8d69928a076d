"""How sure an accuracy is: 95 % intervals for one data set and for an average over several."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.stats import binomtest

Interval = tuple[float, float]


def wilson_interval(correct: int, n: int) -> Interval:
    """Wilson's 95 % score interval of an accuracy ``correct / n``, within [0, 1].

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    Never empty: 0 of 100 gives (0, 0.037).
    """
    found = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def average_interval(accuracies: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """95 % interval of the plain mean of independent accuracies, from the interval of each.

    The MOVER method (Zou and Donner, "Construction of confidence limits about effect measures",
    Statistics in Medicine 2008): distances to the limits add up as variances do.
    """
    k = len(accuracies)
    mean = sum(accuracies) / k
    below = math.hypot(*(p - low for p, (low, _) in zip(accuracies, intervals, strict=True))) / k
    above = math.hypot(*(high - p for p, (_, high) in zip(accuracies, intervals, strict=True))) / k
    return mean - below, mean + above
