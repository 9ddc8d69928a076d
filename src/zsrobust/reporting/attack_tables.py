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
    for condition in dict.fromkeys(row.condition for row in results.rows):
        all_places, series = accuracy_series(results, condition)
        place = places[condition] = main_average(all_places)
        lines["clean"] = {one.legend: one.clean[place.name] for one in series}
        lines[condition] = {one.legend: one.robust[place.name] for one in series}
    widest = max(places.values(), key=lambda place: place.n)
    methods = list(dict.fromkeys(method for line in lines.values() for method in line))
    order = sorted(lines, key=lambda condition: -sum(p.accuracy for p in lines[condition].values()))
    rows = [
        [
            f"{condition} [n {places[condition].n}]"
            if condition in places and places[condition].n < widest.n
            else condition,
            *(_figure(lines[condition].get(method)) for method in methods),
        ]
        for condition in order
    ]
    return TextTable(["attack", *methods], [rows])


def parts_table(results: Results) -> TextTable | None:
    """For every row of an ensemble, what is left after each of its parts, in their order."""
    short = short_names(list(dict.fromkeys(row.model for row in results.rows)))
    rows = [
        [
            *(row.dataset, short[row.model], row.condition, f"{100 * row.clean_acc:.1f}"),
            ", ".join(f"{part} {100 * left:.1f}" for part, left in row.after_part.items()),
        ]
        for row in results.rows
        if row.after_part
    ]
    if not rows:
        return None
    return TextTable(["data set", "model", "attack", "clean", "left after each part"], [rows])


def _figure(point: Point | None) -> str:
    if point is None:
        return "-"
    low, high = (100 * limit for limit in point.interval)
    return f"{100 * point.accuracy:.1f} ({low:.1f}-{high:.1f})"
