"""Where models fail, from the outcome of every sample: accuracy by class, and confusions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Row


@dataclass(frozen=True)
class ClassAccuracy:
    """One class of a data set.

    Attributes:
        name: of the class.
        n: samples of the class.
        clean, robust: how many are right before the attack, and before and after.
    """

    name: str
    n: int
    clean: int
    robust: int


@dataclass(frozen=True)
class Confusion:
    """Samples of one class that an attack turned into another.

    Attributes:
        label, predicted: names of the true class, and of the class after the attack.
        count: samples that were right before.
        of: samples of the class that were right before, whatever became of them.
    """

    label: str
    predicted: str
    count: int
    of: int


def class_accuracies(run: EvaluatedRun, row: Row) -> list[ClassAccuracy]:
    """Every class that has samples, in label order; none where samples were not all attacked.

    Raises:
        RequestError: if the outcomes are not those of the row.
    """
    if row.sampling is not None:
        return []
    _, labels, clean, adversarial = run.predictions(row)
    names = _class_names(run, row)
    right = clean == labels
    robust = right & (adversarial == labels)
    counts = [
        np.bincount(of, minlength=len(names)) for of in (labels, labels[right], labels[robust])
    ]
    return [
        ClassAccuracy(name, *map(int, count))
        for name, *count in zip(names, *counts, strict=True)
        if count[0]
    ]


def confusions(run: EvaluatedRun, row: Row) -> list[Confusion]:
    """Pairs of classes, the most frequent first.

    Raises:
        RequestError: if the outcomes are not those of the row.
    """
    _, labels, clean, adversarial = run.predictions(row)
    names = _class_names(run, row)
    right = clean == labels
    before = np.bincount(labels[right], minlength=len(names))
    fell = right & (adversarial != labels)
    found = Counter(zip(labels[fell].tolist(), adversarial[fell].tolist(), strict=True))
    return [
        Confusion(names[label], names[predicted], count, int(before[label]))
        for (label, predicted), count in sorted(found.items(), key=lambda one: (-one[1], one[0]))
    ]


def _class_names(run: EvaluatedRun, row: Row) -> list[str]:
    names: list[str] = run.results.protocol["data"][row.dataset]["class_names"]
    return names
