"""How far one method lies above another on an average over sets, over all seeds of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.comparison.differences import (
    SamplesOfTwo,
    difference_of,
    samples_of_two,
)
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Row
from zsrobust.evaluation.statistics import Interval, seeds_interval
from zsrobust.utils.errors import RequestError

Verdict = Literal["above", "below", "undecided"]


@dataclass(frozen=True)
class Gap:
    """The second method against the first.

    Attributes:
        first, second: their accuracies in [0, 1].
        interval: 95 % interval of ``second - first``.
    """

    first: float
    second: float
    interval: Interval

    @property
    def difference(self) -> float:
        """``second - first``, in [-1, 1]."""
        return self.second - self.first

    @property
    def verdict(self) -> Verdict:
        """Which side of zero the whole interval lies on, if it does."""
        low, high = self.interval
        return "above" if low > 0 else "below" if high < 0 else "undecided"

    def in_points(self) -> str:
        """Such as ``+5.0 (+3.2 to +6.9)``, in points of a per cent."""
        low, high = (100 * limit for limit in self.interval)
        return f"{100 * self.difference:+.1f} ({low:+.1f} to {high:+.1f})"


def average_rows(
    run: EvaluatedRun, condition: str, models: Sequence[str], sets: Averaged | None = None
) -> dict[str, list[Row]]:
    """Each model's rows that an average is over: of ``sets`` in their order.

    Without them of the sets that are unseen by all, or of all where none is.

    Raises:
        RequestError: if a model, the attack or a set is not in the evaluation.
    """
    rows = [row for row in run.results.rows if row.condition == condition]
    seen = {row.dataset for row in rows if row.seen}
    unseen = [row for row in rows if row.dataset not in seen]
    chosen = rows if sets else unseen or rows
    of = {model: [row for row in chosen if row.model == model] for model in models}
    for model, found in of.items():
        if not found:
            raise RequestError(f"{run.folder} holds no result of {model} under {condition}")
    return {model: sets.of(found) for model, found in of.items()} if sets else of


def gaps(
    run: EvaluatedRun,
    condition: str,
    pairs: Sequence[tuple[str, str]],
    sets: Averaged | None = None,
) -> tuple[Gap, Gap]:
    """The clean and the robust gap on the average of :func:`average_rows`.

    Within a seed samples are paired; over seeds the interval is ``seeds_interval``'s.

    Args:
        run: the evaluation.
        condition: attack and radius, such as ``pgd-10 1/255``.
        pairs: names of the first and the second method's model, a pair a seed.
        sets: of the average; None for those unseen, or for all where none is.

    Raises:
        RequestError: if a model, the attack or a set is not in the evaluation.
    """
    of = average_rows(run, condition, [model for pair in pairs for model in pair], sets)
    weights = sets.weights if sets else None
    clean: list[list[SamplesOfTwo]] = []
    robust: list[list[SamplesOfTwo]] = []
    for first, second in pairs:
        rows = list(zip(of[first], of[second], strict=True))
        clean.append([(run.correct(one)[0], run.correct(other)[0]) for one, other in rows])
        robust.append([samples_of_two(run, one, run, other) for one, other in rows])
    return _gap(clean, weights), _gap(robust, weights)


def _gap(seeds: Sequence[Sequence[SamplesOfTwo]], weights: Sequence[float] | None) -> Gap:
    found = [difference_of(sets, weights) for sets in seeds]
    return Gap(
        first=float(np.mean([one.first for one in found])),
        second=float(np.mean([one.second for one in found])),
        interval=seeds_interval([one.difference for one in found], [one.interval for one in found]),
    )
