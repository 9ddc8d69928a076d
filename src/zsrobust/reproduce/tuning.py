"""One rule for every method's learning rate, fixed before anything was run.

Rates lie on a grid of two a decade (1e-4, 3e-4, 1e-3, ...). The start and its two neighbours are
tried first; as long as the best is at an end of what was tried, the next beyond that end is tried
too. Best is what model selection calls best: the highest mean of clean and PGD-10 accuracy on
images held out of the training set, of the last model of a run of the full number of steps, seed 0;
of equals the lower rate. A run that diverges is worse than any other; where all do, lower ones are
tried.
"""

from __future__ import annotations

from collections.abc import Mapping

DIVERGED = -1.0
FARTHEST = 6
"""Half-decades from the start after which the search ends, whatever it found."""


def rate(index: int) -> float:
    """The learning rate at a place of the grid: 0 is 1, -1 is 0.3, -2 is 0.1."""
    decade, odd = divmod(index, 2)
    return float(f"{3 if odd else 1}e{decade}")


def index_of(lr: float) -> int:
    """The place of a rate of the grid.

    Raises:
        ValueError: if it is not on the grid.
    """
    for index in range(-20, 20):
        if rate(index) == lr:
            return index
    raise ValueError(f"{lr} is not on the grid of learning rates")


def next_rates(scores: Mapping[float, float], start: float) -> list[float]:
    """The rates to try now, given the scores of those that are known; none at the end."""
    first = index_of(start)
    tried = {index_of(lr): score for lr, score in scores.items()}
    begin = [index for index in (first, first - 1, first + 1) if index not in tried]
    if begin:
        return [rate(index) for index in begin]
    at = index_of(best_rate(scores))
    beyond = {min(tried): min(tried) - 1, max(tried): max(tried) + 1}.get(at)
    if beyond is None or abs(beyond - first) > FARTHEST:
        return []
    return [rate(beyond)]


def best_rate(scores: Mapping[float, float]) -> float:
    """The rate with the highest score, the lowest of equals."""
    return max(sorted(scores), key=lambda lr: scores[lr])
