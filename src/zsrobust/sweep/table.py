"""A sweep in one table and one plane: every recipe's mean over its seeds."""

from __future__ import annotations

from zsrobust.evaluation.checks.collapse import collapse_warnings
from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import Place, Series, accuracy_series, main_average
from zsrobust.reporting.figures.tradeoff import Point
from zsrobust.reporting.tables import TextTable
from zsrobust.sweep.cost import passes_per_step
from zsrobust.sweep.plan import Sweep, run_name


def sweep_table(sweep: Sweep, results: Results) -> TextTable:
    """A line a recipe, on the average over unseen sets (over all where there is no unseen one)."""
    attacks = list(dict.fromkeys(row.condition for row in results.rows))
    found = {under: _named(sweep, results, under) for under in attacks}
    lines = []
    for name in found[attacks[0]][1]:
        recipe = sweep.recipes.get(name)
        steps = "" if recipe is None else str(recipe.steps)
        passes = "" if recipe is None else str((recipe.steps or 0) * passes_per_step(recipe))
        cells = [name, steps, passes]
        for position, (place, series) in enumerate(found.values()):
            one = series[name]
            if position == 0:
                cells += [str(len(one.models)), str(place.n), one.clean[place.name].in_per_cent()]
            cells.append(one.robust[place.name].in_per_cent())
        lines.append(cells)
    place = found[attacks[0]][0]
    return TextTable(
        ["model", "steps", "passes", "seeds", "n", "clean", *attacks],
        [lines],
        [
            f"{place.name}, accuracies in per cent with 95 % intervals: over samples, or over "
            "seeds where that is wider",
            *(f"{name} left no model: {why}" for name, why in sweep.diverged().items()),
            *(f"warning: {line}" for line in collapse_warnings(results)),
        ],
    )


def sweep_points(sweep: Sweep, results: Results, under: str) -> tuple[Place, list[Point]]:
    """The recipes in the plane of clean and robust accuracy under one attack, and over what."""
    place, series = _named(sweep, results, under)
    points = []
    for name, one in series.items():
        seeds = [
            (average.clean_acc, average.robust_acc)
            for average in results.averages
            if average.model in one.models
            and average.condition == under
            and average.over == place.over
        ]
        clean, robust = one.clean[place.name], one.robust[place.name]
        points.append(
            Point(
                name,
                clean.accuracy,
                robust.accuracy,
                clean.interval,
                robust.interval,
                tuple(seeds) if len(seeds) > 1 else (),
                one.method,
            )
        )
    return place, points


def _named(sweep: Sweep, results: Results, under: str) -> tuple[Place, dict[str, Series]]:
    """The average that says most, and each recipe's series."""
    places, series = accuracy_series(results, under)
    names = {run_name(recipe, seed): recipe for recipe in sweep.recipes for seed in sweep.seeds} | {
        name: name for name in sweep.originals()
    }
    named = {names[one.models[0]]: one for one in series}
    order = [name for name in (*sweep.originals(), *sweep.recipes) if name in named]
    return main_average(places), {name: named[name] for name in order}
