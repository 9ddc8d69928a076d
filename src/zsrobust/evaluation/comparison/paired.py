"""Significance of differences between evaluated models, paired on the same samples."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from zsrobust.evaluation.checks.collapse import collapse_warnings, collapsed_on
from zsrobust.evaluation.comparison.differences import (
    Difference,
    SamplesOfTwo,
    difference_of,
    holm,
    samples_of_two,
)
from zsrobust.evaluation.comparison.protocol import require_same_protocol
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Row
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

LEVEL = 0.05


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
        collapsed: whether a model has, on that set, or on most of an average's, so that its robust
            accuracy says nothing.
    """

    dataset: str
    condition: str
    seen: bool
    n: int
    difference: Difference
    p: float
    collapsed: bool = False

    @property
    def verdict(self) -> str:
        """``real`` where p is below 0.05, else ``not distinguishable``; ``collapsed`` under attack.

        That of clean accuracies is real where a model has collapsed.
        """
        if self.collapsed and self.condition != "clean":
            return "collapsed"
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
            "interval": "95 %, paired bootstrap over samples; MOVER of two-phase estimates",
            "p": "McNemar, of two-phase estimates by their interval; Holm over the sets of a pair "
            "under one attack, an average as it is",
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
    outcomes: dict[str, dict[str, SamplesOfTwo]] = {}
    seen = {row.dataset for row in [*rows_a.values(), *rows_b.values()] if row.seen}
    remarks = _left_out(rows_a, rows_b) + _classifiers(a, model_a, b, model_b)
    for key in common:
        row = rows_a[key]
        require_same_protocol(a.results, row, b.results, rows_b[key])
        ids_a, clean_a, _ = a.right(row)
        ids_b, clean_b, _ = b.right(rows_b[key])
        _require_same_samples(names, row.dataset, ids_a, ids_b)
        robust = samples_of_two(a, row, b, rows_b[key])
        outcomes.setdefault("clean", {})[row.dataset] = (clean_a, clean_b)
        outcomes.setdefault(row.condition, {})[row.dataset] = robust
        if not isinstance(robust, tuple):
            remarks += [line for line in [robust.remark(row)] if line not in remarks]
    fallen = [
        collapsed_on(run.results).get(model, set()) for run, model in ((a, model_a), (b, model_b))
    ]
    lines = [
        line
        for condition, by_set in outcomes.items()
        for line in _lines(condition, by_set, seen, fallen)
    ]
    sets = dict.fromkeys(row.dataset for row in rows_a.values())
    averages = dict.fromkeys(line.dataset for line in lines if line.dataset not in sets)
    order = [*sets, *sorted(averages, key=lambda name: name.endswith("unseen"))]
    lines.sort(key=lambda line: order.index(line.dataset))
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


def _lines(
    condition: str,
    by_set: dict[str, SamplesOfTwo],
    seen: set[str],
    collapsed: Sequence[Collection[str]],
) -> list[Line]:
    """The sets under one attack, Holm's correction over them, and averages that differ.

    ``collapsed`` are the sets on which either model has.
    """

    def fallen(names: Sequence[str]) -> bool:
        return any(2 * len([name for name in names if name in on]) > len(names) for on in collapsed)

    alone = {name: difference_of([samples]) for name, samples in by_set.items()}
    sizes = {
        name: len(samples[0]) if isinstance(samples, tuple) else samples.n
        for name, samples in by_set.items()
    }
    adjusted = holm([difference.p for difference in alone.values()])
    lines = [
        Line(name, condition, name in seen, sizes[name], difference, p, fallen([name]))
        for (name, difference), p in zip(alone.items(), adjusted, strict=True)
    ]
    unseen = [name for name in by_set if name not in seen]
    for over, names in (("all", list(by_set)), ("unseen", unseen)):
        if len(names) > 1 and not (over == "all" and names == unseen):
            average = difference_of([by_set[name] for name in names])
            n = sum(sizes[name] for name in names)
            name = f"average of {len(names)} {over}"
            known = not seen.isdisjoint(names)
            lines.append(Line(name, condition, known, n, average, average.p, fallen(names)))
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
