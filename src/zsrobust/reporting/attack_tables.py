"""Tables of attacks: what each leaves on average, and what each part of an ensemble took."""

from __future__ import annotations

from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import Place, Point, accuracy_series, main_average
from zsrobust.reporting.tables import TextTable, short_names


def attack_table(results: Results) -> TextTable:
    """A line an attack, the one that leaves least last, and a column a method.

    Accuracies are those of :func:`main_average`, in per cent with 95 % intervals.
    """
    lines: dict[str, dict[str, Point]] = {}
    places: dict[str, Place] = {}
    for under in dict.fromkeys(row.under for row in results.rows):
        all_places, series = accuracy_series(results, under)
        place = places[under] = main_average(all_places)
        lines["clean"] = {one.legend: one.clean[place.name] for one in series}
        lines[under] = {one.legend: one.robust[place.name] for one in series}
    widest = max(places.values(), key=lambda place: place.n)
    methods = list(dict.fromkeys(method for line in lines.values() for method in line))
    order = sorted(lines, key=lambda under: -sum(p.accuracy for p in lines[under].values()))
    rows = [
        [
            f"{under} [n {places[under].n}]"
            if under in places and places[under].n < widest.n
            else under,
            *(_figure(lines[under].get(method)) for method in methods),
        ]
        for under in order
    ]
    return TextTable(["under", *methods], [rows])


def parts_table(results: Results) -> TextTable | None:
    """For every row of an ensemble, what is left after each of its parts, in their order."""
    short = short_names(list(dict.fromkeys(row.model for row in results.rows)))
    rows = [
        [
            *(row.dataset, short[row.model], row.under, f"{100 * row.clean_acc:.1f}"),
            ", ".join(f"{part} {100 * left:.1f}" for part, left in row.after_part.items()),
        ]
        for row in results.rows
        if row.after_part
    ]
    if not rows:
        return None
    return TextTable(["data set", "model", "under", "clean", "left after each part"], [rows])


def _figure(point: Point | None) -> str:
    if point is None:
        return "-"
    low, high = (100 * limit for limit in point.interval)
    return f"{100 * point.accuracy:.1f} ({low:.1f}-{high:.1f})"
