"""Runs of one method that differ in their seed: mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsrobust.evaluation.comparison.protocol import require_same_protocol
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.statistics import Interval, t_interval
from zsrobust.utils.errors import RequestError

Set = tuple[str, str]
Group = tuple[str, str, str, str, float, str]


@dataclass(frozen=True)
class Spread:
    """An accuracy over seeds.

    Attributes:
        mean, deviation: over seeds, in [0, 1]; the deviation has seeds - 1 in its denominator and
            is nan for one seed.
        interval: Student's 95 % interval of the mean over seeds; (nan, nan) for one.
    """

    mean: float
    deviation: float
    interval: Interval

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one value a seed."""
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
        return cls(float(np.mean(values)), deviation, t_interval(values))


@dataclass(frozen=True)
class OverSeeds:
    """One method under one attack on one data set, or averaged over all sets.

    Attributes:
        dataset: its name, or ``average of K``.
        source: the model it was fine-tuned from.
        method, attack, norm, eps: as in :class:`Row`.
        seeds: how many different models.
        clean, robust: the accuracies.
    """

    dataset: str
    source: str
    method: str
    attack: str
    norm: str
    eps: float
    seeds: int
    clean: Spread
    robust: Spread


def aggregate_seeds(runs: Sequence[Results]) -> list[OverSeeds]:
    """Mean and spread over all models of one method in ``runs``, a set at a time and on average.

    Models count as seeds of one method where recipe, ``method`` and the model they were fine-tuned
    from are the same and their weights are not: an original evaluated in every run counts once.

    Raises:
        RequestError: if two of them were measured differently, or on different sets.
    """
    groups: dict[Group, dict[str, dict[Set, Row]]] = {}
    references: dict[tuple[Group, Set], tuple[Results, Row]] = {}
    for run in runs:
        for row in run.rows:
            model = run.protocol["models"][row.model]
            # Runs of one recipe are its seeds; a model of unknown recipe is its own group.
            original = row.method == "original"
            unnamed = _way_to_see(run, row.model) if original else model["weights"]
            recipe = model.get("recipe") or unnamed
            group = (model["source"], row.method, row.attack, row.norm, row.eps, str(recipe))
            place = (row.dataset, row.split)
            require_same_protocol(*references.setdefault((group, place), (run, row)), run, row)
            groups.setdefault(group, {}).setdefault(model["weights"], {}).setdefault(place, row)
    summaries = []
    for (source, *_), seeds in groups.items():
        places = _sets_of_all(list(seeds.values()))
        summaries += [
            _summary(place[0], source, [[rows[place]] for rows in seeds.values()])
            for place in places
        ]
        if len(places) > 1:
            every = [list(rows.values()) for rows in seeds.values()]
            summaries.append(_summary(f"average of {len(places)}", source, every))
    return summaries


def _way_to_see(run: Results, model: str) -> str:
    """Preprocessing and loader resize; an original under two of them is two classifiers."""
    under = [about.get(f"under {model}", {}) for about in run.protocol["data"].values()]
    resizes = {str(one.get("loader_resize", "")).partition(":")[0] for one in under} - {"", "none"}
    return f"{run.protocol['models'][model].get('preprocessing')} {sorted(resizes)}"


def _sets_of_all(seeds: Sequence[dict[Set, Row]]) -> list[Set]:
    for rows in seeds:
        if uneven := sorted(set(rows) ^ set(seeds[0])):
            names = " and ".join(next(iter(s.values())).model for s in (seeds[0], rows))
            raise RequestError(
                f"{names} were not evaluated on the same sets, {' '.join(uneven[0])} is in one "
                "alone: evaluate both on the same"
            )
    return list(seeds[0])


def _summary(dataset: str, source: str, seeds: Sequence[Sequence[Row]]) -> OverSeeds:
    """Each seed's rows averaged over sets, then over seeds."""
    row = seeds[0][0]
    return OverSeeds(
        dataset=dataset,
        source=source,
        method=row.method,
        attack=row.attack,
        norm=row.norm,
        eps=row.eps,
        seeds=len(seeds),
        clean=Spread.of([float(np.mean([r.clean_acc for r in rows])) for rows in seeds]),
        robust=Spread.of([float(np.mean([r.robust_acc for r in rows])) for rows in seeds]),
    )
