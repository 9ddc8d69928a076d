"""From the rows of an evaluation to what an accuracy figure shows: a series a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from zsrobust.evaluation.averages import Average, Averaged
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.statistics import Interval, seeds_interval
from zsrobust.reporting.names import display_names
from zsrobust.utils.errors import RequestError


@dataclass(frozen=True)
class Place:
    """A line of the figure.

    Attributes:
        name: the data set's, or an average's, such as ``average of 5 unseen``.
        n: samples; of an average, those of its sets together.
        seen: whether a model of the evaluation was trained on it.
        over: of an average, as in :class:`zsrobust.evaluation.averages.Average`; empty for a data
            set.
        weight: what a set counts in a named average, in [0, 1]; 1 where none is shown.
    """

    name: str
    n: int
    seen: bool
    over: str = ""
    weight: float = 1.0

    @property
    def average(self) -> bool:
        """Whether it is an average over sets."""
        return self.over != ""

    @property
    def part(self) -> int:
        """Of the figure: 0 for sets, 1 for averages, 2 for sets that count in none."""
        return 1 if self.average else 0 if self.weight else 2


@dataclass(frozen=True)
class Point:
    """An accuracy in [0, 1] and its 95 % interval; (nan, nan) where there is none.

    Attributes:
        sampled: whether it is estimated from a part of the samples.
    """

    accuracy: float
    interval: Interval
    sampled: bool = False

    def in_per_cent(self) -> str:
        """Such as ``46.2 (44.5-47.8)``, with ‡ where it is estimated."""
        low, high = (100 * limit for limit in self.interval)
        return f"{100 * self.accuracy:.1f} ({low:.1f}-{high:.1f}){'‡' if self.sampled else ''}"


@dataclass(frozen=True)
class Series:
    """One method: a model, or its models of several seeds.

    Attributes:
        label: how it is called.
        method: as in :class:`Row`.
        models: its models; where several, points are means over seeds.
        clean, robust: by the name of the place.
    """

    label: str
    method: str
    models: tuple[str, ...]
    clean: dict[str, Point]
    robust: dict[str, Point]

    @property
    def legend(self) -> str:
        """The label, and how many seeds stand behind it where there are several."""
        several = len(self.models) > 1
        return f"{self.label}, {len(self.models)} seeds" if several else self.label


def accuracy_series(
    results: Results, condition: str, sets: Averaged | None = None
) -> tuple[list[Place], list[Series]]:
    """The lines and the series of one attack and radius, such as ``pgd-10 1/255``.

    Args:
        results: of an evaluation.
        condition: the attack and radius.
        sets: of the one average to show; None for those of ``Results.shown_averages``.

    Raises:
        RequestError: if no row has that attack, or there are no results on one of ``sets``.
    """
    rows = [row for row in results.rows if row.condition == condition]
    if not rows:
        there = ", ".join(dict.fromkeys(row.condition for row in results.rows))
        raise RequestError(f"there is no result for {condition}: there are {there}")
    averages = averages_under(results, condition, sets)
    seen = {row.dataset for row in results.rows if row.seen}
    places = {row.dataset: Place(row.dataset, row.n, row.dataset in seen) for row in rows}
    if sets:
        counted = dict(zip(sets.sets, sets.weights, strict=True))
        order = [*counted, *(name for name in places if name not in counted)]
        places = {name: replace(places[name], weight=counted.get(name, 0)) for name in order}
    for one in averages:
        n = sum(
            row.n
            for row in rows
            if row.model == one.model
            and places[row.dataset].weight
            and not (one.over == "unseen" and row.dataset in seen)
        )
        places[one.title] = Place(one.title, n, False, one.over)
    found: dict[str, dict[str, Row | Average]] = {}
    for row in rows:
        found.setdefault(row.model, {})[row.dataset] = row
    for one in averages:
        found[one.model][one.title] = one
    groups = _groups(results, list(found))
    labels = display_names(results, [group[0] for group in groups])
    series = [
        Series(
            label=labels[group[0]],
            method=_method(results, group[0]),
            models=tuple(group),
            clean=_points([found[model] for model in group], "clean"),
            robust=_points([found[model] for model in group], "robust"),
        )
        for group in groups
    ]
    return sorted(places.values(), key=lambda place: place.part), series


def averages_under(results: Results, condition: str, sets: Averaged | None = None) -> list[Average]:
    """The averages to show of one attack and radius: over ``sets``, or ``shown_averages``."""
    if sets is None:
        return [one for one in results.shown_averages if one.condition == condition]
    rows = [row for row in results.rows if row.condition == condition]
    return replace(results, rows=rows).averages_over(sets)


def main_average(places: Sequence[Place]) -> Place:
    """The average that says most: a named one, or that of unseen sets, or else of all."""
    averages = [place for place in places if place.average]
    return next((place for place in averages if place.over == "unseen"), averages[0])


def strongest(results: Results) -> str:
    """The attack and radius under which the models keep least, on average over rows."""
    condition: dict[str, list[float]] = {}
    for row in results.rows:
        condition.setdefault(row.condition, []).append(row.robust_acc)
    return min(condition, key=lambda name: float(np.mean(condition[name])))


def _method(results: Results, model: str) -> str:
    return next(row.method for row in results.rows if row.model == model)


def _groups(results: Results, models: Sequence[str]) -> list[list[str]]:
    """Models of one recipe are its seeds; each of unknown recipe is its own group."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        about = results.protocol.get("models", {}).get(model, {})
        recipe = about.get("recipe")
        key = (about["source"], _method(results, model), recipe) if recipe else (model,)
        groups.setdefault(key, []).append(model)
    return list(groups.values())


def _points(seeds: Sequence[dict[str, Row | Average]], kind: str) -> dict[str, Point]:
    points = {}
    for place in seeds[0]:
        of = [found[place] for found in seeds if place in found]
        accuracies = [getattr(one, f"{kind}_acc") for one in of]
        low, high = seeds_interval(accuracies, [getattr(one, f"ci95_{kind}") for one in of])
        # Student's interval over few seeds may reach beyond what an accuracy can be.
        low, high = (float(np.clip(limit, 0, 1)) for limit in (low, high))
        sampled = kind == "robust" and any(_is_sampled(one) for one in of)
        points[place] = Point(float(np.mean(accuracies)), (low, high), sampled)
    return points


def _is_sampled(one: Row | Average) -> bool:
    return one.sampled if isinstance(one, Average) else one.sampling is not None
