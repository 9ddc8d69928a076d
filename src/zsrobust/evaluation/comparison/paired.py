"""Significance of differences between evaluated models, paired on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from zsrobust.evaluation.checks.collapse import collapse_warnings
from zsrobust.evaluation.comparison.protocol import require_same_protocol
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Row
from zsrobust.evaluation.statistics import (
    BOOTSTRAP_SEED,
    DRAWS,
    Interval,
    Outcome,
    percentile_interval,
)
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps


@dataclass(frozen=True)
class Difference:
    """The second model against the first.

    Attributes:
        first, second: their accuracies in [0, 1].
        interval: 95 % interval of ``second - first``.
        p: how often chance alone makes a difference at least as large, in (0, 1].
    """

    first: float
    second: float
    interval: Interval
    p: float

    @property
    def difference(self) -> float:
        """``second - first``, in [-1, 1]."""
        return self.second - self.first


def paired_difference(first: Sequence[Outcome], second: Sequence[Outcome]) -> Difference:
    """Difference of the plain means of accuracies over one or more sets, samples paired.

    The interval is a percentile bootstrap of 10,000 draws over pairs within each set. Each of the
    four kinds of pairs (both right, either, neither) counts half a pair more than was seen (Agresti
    and Min, "Simple improved confidence intervals for comparing matched proportions", Statistics
    in Medicine 2005), so that models that never disagree still have an interval.

    ``p`` is McNemar's: were the models equally good, each sample on which they disagree would be as
    likely to favour the one as the other. For one set it is the exact binomial test; for an
    average, the same chance is simulated 10,000 times in every set at once, so that p is at least
    1/10,001.

    Args:
        first, second: for each set, whether each sample is right, (N,) booleans, N >= 1, the same
            samples in the same order.
    """
    random = np.random.default_rng(BOOTSTRAP_SEED)
    draws, by_chance, exact = np.zeros(DRAWS), np.zeros(DRAWS), 1.0
    for a, b in zip(first, second, strict=True):
        n = len(a)
        gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
        kinds = np.array([gained, lost, (a & b).sum(), (~a & ~b).sum()]) + 0.5
        counts = random.multinomial(n, kinds / kinds.sum(), DRAWS)
        draws += (counts[:, 0] - counts[:, 1]) / n
        disagree = gained + lost
        by_chance += (2 * random.binomial(disagree, 0.5, DRAWS) - disagree) / n
        from scipy.stats import binomtest

        exact = binomtest(gained, disagree).pvalue if disagree else 1.0
    sets = len(first)
    accuracies = [
        float(np.mean([right.mean() for right in outcomes])) for outcomes in (first, second)
    ]
    observed = abs(accuracies[1] - accuracies[0]) * sets
    # Sums of fractions that are equal on paper differ in the last bits.
    as_large = int((np.abs(by_chance) >= observed - 1e-12).sum())
    return Difference(
        first=accuracies[0],
        second=accuracies[1],
        interval=percentile_interval(draws / sets),
        p=float(exact) if sets == 1 else (1 + as_large) / (1 + DRAWS),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: the k-th smallest of m times m - k + 1.

    Rejecting those below 0.05 bounds the family-wise error rate by 5 %
    (Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Stat. 1979).
    scipy corrects for the false discovery rate only; statsmodels has Holm's, but would be a further
    dependency for these lines alone.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


LEVEL = 0.05
Pairs = tuple[Outcome, Outcome]


@dataclass(frozen=True)
class Line:
    """Two models on one data set, or on an average over sets, clean or under one attack.

    Attributes:
        dataset: its name, or ``average of K all`` or ``unseen`` sets.
        condition: ``clean``, or attack and radius.
        seen: whether either model was trained on that set; of an average, on any of its sets.
        n: samples; of an average, those of its sets together.
        difference: accuracies, interval and p of this line alone.
        p: Holm's over the sets of one ``condition``; of an average, which is one test, as it is.
    """

    dataset: str
    condition: str
    seen: bool
    n: int
    difference: Difference
    p: float

    @property
    def verdict(self) -> str:
        """``real`` where p is below 0.05, else ``not distinguishable``."""
        return "real" if self.p < LEVEL else "not distinguishable"


@dataclass(frozen=True)
class Pair:
    """Two models compared; differences are those of ``second`` minus those of ``first``.

    Attributes:
        first, second: names of the models, with the run's where they are equal.
        lines: sets first, then averages; of each, clean and every attack in common.
        remarks: what was left out, how the classifiers differ besides their weights, and which of
            them has collapsed.
    """

    first: str
    second: str
    lines: list[Line]
    remarks: list[str]


@dataclass(frozen=True)
class Comparison:
    """All pairs of models that were compared."""

    pairs: list[Pair]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; accuracies, differences and p-values in [-1, 1]."""
        return {
            "interval": "95 %, paired bootstrap over samples",
            "p": "McNemar; Holm over the sets of a pair under one attack, an average as it is",
            "pairs": [
                {
                    **asdict(pair),
                    "lines": [
                        {
                            "dataset": line.dataset,
                            "condition": line.condition,
                            "seen": line.seen,
                            "n": line.n,
                            "first": line.difference.first,
                            "second": line.difference.second,
                            "difference": line.difference.difference,
                            "interval": line.difference.interval,
                            "p": line.p,
                            "verdict": line.verdict,
                        }
                        for line in pair.lines
                    ],
                }
                for pair in self.pairs
            ],
        }


def compare(run_a: Path, run_b: Path | None = None) -> Comparison:
    """Compare the models of one evaluation with each other, or those of two evaluations.

    Of one run, every model is compared with every later one, so that the original comes first. Of
    two, every fine-tuned model of the second is compared with every fine-tuned one of the first;
    where a run holds only originals, with those.

    Args:
        run_a: a folder with ``results.json`` and ``outcomes.parquet``.
        run_b: another one; None to compare within the first.

    Raises:
        RequestError: if files are missing or damaged, if there are no two models, no set or no
            attack in common, or if what is common was measured differently or on other samples.
    """
    a = EvaluatedRun.read(run_a)
    if run_b is None:
        if len(a.models) < 2:
            raise RequestError(
                f"{run_a} holds one model alone: name a second run to compare it with"
            )
        return Comparison([_pair(a, x, a, y) for x, y in combinations(a.models, 2)])
    b = EvaluatedRun.read(run_b)
    return Comparison([_pair(a, x, b, y) for x, y in product(a.tuned, b.tuned)])


def _pair(a: EvaluatedRun, model_a: str, b: EvaluatedRun, model_b: str) -> Pair:
    rows_a, rows_b = _rows(a, model_a), _rows(b, model_b)
    names = (model_a, model_b)
    if model_a == model_b:
        names = (f"{model_a} ({a.folder})", f"{model_b} ({b.folder})")
    common = [key for key in rows_a if key in rows_b]
    if not common:
        raise RequestError(
            f"{names[0]} and {names[1]} have no data set and attack in common: {_listed(rows_a)} "
            f"there, {_listed(rows_b)} here"
        )
    outcomes: dict[str, dict[str, Pairs]] = {}
    seen = {row.dataset for row in [*rows_a.values(), *rows_b.values()] if row.seen}
    for key in common:
        row = rows_a[key]
        require_same_protocol(a.results, row, b.results, rows_b[key])
        ids_a, *right_a = a.right(row)
        ids_b, *right_b = b.right(rows_b[key])
        _require_same_samples(names, row.dataset, ids_a, ids_b)
        for condition, pairs in zip(
            ("clean", row.condition), zip(right_a, right_b, strict=True), strict=True
        ):
            outcomes.setdefault(condition, {})[row.dataset] = pairs
    lines = [
        line for condition, by_set in outcomes.items() for line in _lines(condition, by_set, seen)
    ]
    sets = dict.fromkeys(row.dataset for row in rows_a.values())
    averages = dict.fromkeys(line.dataset for line in lines if line.dataset not in sets)
    order = [*sets, *sorted(averages, key=lambda name: name.endswith("unseen"))]
    lines.sort(key=lambda line: order.index(line.dataset))
    remarks = _left_out(rows_a, rows_b) + _classifiers(a, model_a, b, model_b)
    for run, model in ((a, model_a), (b, model_b)):
        remarks += [f"warning: {line}" for line in collapse_warnings(run.results, [model])]
    return Pair(*names, lines, remarks)


def _rows(run: EvaluatedRun, model: str) -> dict[tuple[str, ...], Row]:
    """The rows of one model by what must agree before they can be paired."""
    return {
        (row.dataset, row.split, row.attack, row.norm, str(Eps(row.eps))): row
        for row in run.results.rows
        if row.model == model
    }


def _lines(condition: str, by_set: dict[str, Pairs], seen: set[str]) -> list[Line]:
    """The sets under one attack, Holm's correction over them, and both averages."""
    alone = {name: paired_difference([first], [second]) for name, (first, second) in by_set.items()}
    adjusted = holm([difference.p for difference in alone.values()])
    lines = [
        Line(name, condition, name in seen, len(by_set[name][0]), difference, p)
        for (name, difference), p in zip(alone.items(), adjusted, strict=True)
    ]
    unseen = [name for name in by_set if name not in seen]
    for over, names in (("all", list(by_set)), ("unseen", unseen)):
        if len(names) > 1:
            first, second = zip(*(by_set[name] for name in names), strict=True)
            average = paired_difference(first, second)
            n = sum(map(len, first))
            name = f"average of {len(names)} {over}"
            lines.append(Line(name, condition, not seen.isdisjoint(names), n, average, average.p))
    return lines


def _require_same_samples(
    names: tuple[str, str], dataset: str, first: Sequence[str], second: Sequence[str]
) -> None:
    if first != second:
        only = sorted(set(first) ^ set(second))
        raise RequestError(
            f"{names[0]} and {names[1]} were evaluated on other samples of {dataset}: {len(only)} "
            f"samples (with their labels) are in one alone, as {only[0]}; evaluate both on the same"
        )


def _left_out(a: dict[tuple[str, ...], Row], b: dict[tuple[str, ...], Row]) -> list[str]:
    alone = {key: row for key, row in {**a, **b}.items() if (key in a) != (key in b)}
    return [f"left out, since only one was evaluated on it: {_listed(alone)}"] if alone else []


def _listed(rows: dict[tuple[str, ...], Row]) -> str:
    return ", ".join(f"{row.dataset} ({row.split}) under {row.condition}" for row in rows.values())


def _classifiers(a: EvaluatedRun, model_a: str, b: EvaluatedRun, model_b: str) -> list[str]:
    """What besides weights makes two classifiers differ: their own settings, and their prompts."""
    remarks = []
    settings_a, settings_b = (
        run.results.protocol["models"][m] for run, m in ((a, model_a), (b, model_b))
    )
    for model, settings in ((model_a, settings_a), (model_b, settings_b)):
        if settings.get("unfinished"):
            remarks.append(f"{model} is of a fine-tuning at {settings['unfinished']}")
    for key in ("logit_scale", "preprocessing", "defence"):
        first, second = settings_a.get(key, "none"), settings_b.get(key, "none")
        if first != second:
            remarks.append(f"their {key.replace('_', ' ')} differs: {first} and {second}")
    data_a, data_b = a.results.protocol["data"], b.results.protocol["data"]
    for name in data_a:
        if name in data_b:
            first = data_a[name][f"under {model_a}"]["templates"]
            second = data_b[name][f"under {model_b}"]["templates"]
            if first != second:
                remarks.append(f"their prompts for {name} differ: {first} and {second}")
    return remarks
