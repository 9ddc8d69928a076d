"""95 % intervals of accuracies: of one data set, an average, several seeds; and counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
Outcome = NDArray[np.bool_]

DRAWS = 10_000
BOOTSTRAP_SEED = 0


def wilson_interval(correct: int, n: int) -> Interval:
    """Wilson's 95 % score interval of an accuracy ``correct / n``, within [0, 1].

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    Never empty: 0 of 100 gives (0, 0.037).
    """
    from scipy.stats import binomtest

    found = binomtest(correct, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)


def weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of ``values`` with ``weights`` above 0, in proportion to each other."""
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)


def average_interval(
    accuracies: Sequence[float],
    intervals: Sequence[Interval],
    weights: Sequence[float] | None = None,
) -> Interval:
    """95 % interval of the mean of independent accuracies, from the interval of each.

    The MOVER method (Zou and Donner, "Construction of confidence limits about effect measures",
    Statistics in Medicine 2008): distances to the limits add up as variances do.

    Args:
        accuracies: in [0, 1].
        intervals: of each.
        weights: of each, above 0, in proportion to each other; None for equal ones.
    """
    weights = weights or [1.0] * len(accuracies)
    each = list(zip(weights, accuracies, intervals, strict=True))
    mean = weighted_mean(accuracies, weights)
    below = math.hypot(*(w * (p - low) for w, p, (low, _) in each)) / sum(weights)
    above = math.hypot(*(w * (high - p) for w, p, (_, high) in each)) / sum(weights)
    return mean - below, mean + above


def percentile_interval(draws: NDArray[np.float64]) -> Interval:
    """The middle 95 % of ``draws`` (D,)."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def t_interval(values: Sequence[float]) -> Interval:
    """Student's 95 % interval of the mean of ``values``, such as accuracies over seeds.

    The interval of one value is (nan, nan).
    """
    if len(values) < 2:
        return math.nan, math.nan
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1)) * spread / math.sqrt(len(values))
    return mean - half, mean + half


def seeds_interval(values: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """A cautious 95 % interval of the mean of ``values`` over seeds, evaluated on the same samples.

    On each side the wider of two: Student's over seeds, which knows nothing of the samples (seeds
    that agree by chance would leave no doubt at all), and the mean of the seeds' own ``intervals``
    over samples, which knows nothing of training. One seed has its own.
    """
    low, high = (float(limit) for limit in np.mean(intervals, axis=0))
    if len(values) < 2:
        return low, high
    over_seeds = t_interval(values)
    return min(low, over_seeds[0]), max(high, over_seeds[1])


class Predictions(TypedDict):
    """What of predictions shows a collapse; see ``checks.collapse.Counted``."""

    chance_acc: float
    top_class: str
    top_predicted: float
    top_labelled: float


def count_predictions(
    labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]
) -> Predictions:
    """The figures of predictions.

    Args:
        labels, predictions: how many of each class, K counts of the same images.
        names: of the K classes.
    """
    n = sum(labels)
    top = max(range(len(names)), key=predictions.__getitem__)
    return {
        "chance_acc": sum(a * b for a, b in zip(labels, predictions, strict=True)) / n**2,
        "top_class": names[top],
        "top_predicted": predictions[top] / n,
        "top_labelled": labels[top] / n,
    }
