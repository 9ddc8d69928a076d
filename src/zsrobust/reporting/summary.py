"""Tables of an evaluation in short: averages, what each attack leaves, parts of ensembles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zsrobust.evaluation.results import Results
from zsrobust.models.names import short_names
from zsrobust.reporting.figures.series import Place, Point, Series, accuracy_series, main_average
from zsrobust.reporting.names import display_names
from zsrobust.reporting.tables import TextTable, percent, sampling_notes
from zsrobust.utils.units import format_radius


def summary_table(results: Results) -> TextTable:
    """A line a method under each average, with the samples behind it; a column an attack.

    Where a method was trained with several seeds, it is their mean, with ``seeds_interval``.
    """
    attacks = list(dict.fromkeys(row.condition for row in results.rows))
    found = {condition: accuracy_series(results, condition) for condition in attacks}
    sets = list(dict.fromkeys(row.dataset for row in results.rows))
    groups = []
    for over in ("all", "unseen"):
        of = {
            condition: place
            for condition, (places, _) in found.items()
            for place in places
            if place.over == over
        }
        if not of:
            continue
        # Not every attack is one on every set, or on every model.
        widest = max(of, key=lambda condition: (of[condition].n, len(found[condition][1])))
        whole = of[widest]
        # An average over one set alone is that set.
        name = whole.name if len(sets) > 1 else sets[0]
        groups.append(
            [
                [
                    *(
                        name,
                        method.legend,
                        str(whole.n),
                        method.clean[whole.name].in_per_cent(),
                    ),
                    *(
                        _robust(method, found[condition][1], of.get(condition), whole)
                        for condition in attacks
                    ),
                ]
                for method in found[widest][1]
            ]
        )
    return TextTable(["data set", "model", "n", "clean", *attacks], groups, sampling_notes(results))


def _robust(method: Series, condition: Sequence[Series], place: Place | None, whole: Place) -> str:
    """The method's figure under one attack, which may not be defined on every set."""
    same = [one for one in condition if one.models == method.models]
    if not same or place is None:
        return "-"
    fewer = f" [n {place.n}]" if place.name != whole.name else ""
    return same[0].robust[place.name].in_per_cent() + fewer


def attack_table(results: Results) -> TextTable:
    """A line an attack, the one that leaves least last, and a column a method.

    Accuracies are those of :func:`main_average`, in per cent with 95 % intervals.
    """
    lines: dict[str, dict[str, Point]] = {}
    places: dict[str, Place] = {}
    for condition in dict.fromkeys(row.condition for row in results.rows):
        all_places, series = accuracy_series(results, condition)
        place = places[condition] = main_average(all_places)
        clean = {one.legend: one.clean[place.name] for one in series}
        lines["clean"] = {**clean, **lines.get("clean", {})}
        lines[condition] = {one.legend: one.robust[place.name] for one in series}
    widest = max(places.values(), key=lambda place: place.n)
    methods = list(dict.fromkeys(method for line in lines.values() for method in line))

    def mean(condition: str) -> float:
        found = lines[condition].values()
        return sum(point.accuracy for point in found) / len(found)

    order = sorted(lines, key=mean, reverse=True)
    rows = [
        [
            f"{condition} [n {places[condition].n}]"
            if condition in places and places[condition].n < widest.n
            else condition,
            *(_figure(lines[condition].get(method)) for method in methods),
        ]
        for condition in order
    ]
    return TextTable(["attack", *methods], [rows], sampling_notes(results))


def defence_table(results: Results, names: Mapping[str, str] | None = None) -> TextTable | None:
    """What is left of every test-time defence, beside the models without; None where there is none.

    Accuracies in per cent with 95 % intervals.
    """
    if not results.defences:
        return None
    called = names or short_names(list(dict.fromkeys(row.model for row in results.defences)))
    groups: dict[str, list[list[str]]] = {}
    for row in results.defences:
        figures = ["-" if found is None else percent(*found) for found in row.figures]
        groups.setdefault(row.dataset, []).append(
            [row.dataset, called[row.model], str(row.n), format_radius(row.norm, row.eps), *figures]
        )
    notes = [
        "static: images made without the defence; every attack: the worst of all on each sample."
    ]
    if draws := max(row.draws for row in results.defences):
        notes.append(
            f"Figures of a randomised defence are means over {draws} draws; each sample's attack "
            f"is the one that left fewest right of {draws} others."
        )
    columns = ["data set", "model", "n", "radius", "clean", "static", "every attack"]
    return TextTable(columns, list(groups.values()), notes)


def parts_table(results: Results) -> TextTable | None:
    """For every row of an ensemble, what is left after each of its parts, in their order."""
    names = display_names(results, list(dict.fromkeys(row.model for row in results.rows)))
    rows = [
        [
            *(row.dataset, names[row.model], row.condition, f"{100 * row.clean_acc:.1f}"),
            ", ".join(f"{part} {100 * left:.1f}" for part, left in row.after_part.items()),
        ]
        for row in results.rows
        if row.after_part
    ]
    if not rows:
        return None
    return TextTable(["data set", "model", "attack", "clean", "left after each part"], [rows])


def _figure(point: Point | None) -> str:
    return "-" if point is None else point.in_per_cent()
