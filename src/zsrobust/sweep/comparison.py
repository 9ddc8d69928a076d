"""What a comparison shows: a table, and the plane of clean and robust accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.checks.collapse import collapse_warnings
from zsrobust.evaluation.comparison.gap import gaps
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.results import Results
from zsrobust.reporting.figures.series import (
    Place,
    Series,
    accuracy_series,
    averages_under,
    main_average,
)
from zsrobust.reporting.figures.tradeoff import Point
from zsrobust.reporting.tables import TextTable
from zsrobust.sweep.plan import Sweep, run_name, seed_of
from zsrobust.training.cost import passes_per_step

BUDGET = ("learning rate", "steps", "passes")


@dataclass(frozen=True)
class Line:
    """A system in a comparison.

    Attributes:
        title: in table and figure.
        models: its models, a seed each.
        budget: what its training took, by :data:`BUDGET`; empty for an original.
    """

    title: str
    models: Sequence[str]
    budget: Mapping[str, str] = field(default_factory=dict)


def lines_of(sweep: Sweep, models: Sequence[str], titles: Mapping[str, str]) -> list[Line]:
    """The originals, and every recipe that left one of ``models``.

    Args:
        sweep: the runs.
        models: those that are evaluated.
        titles: of the recipes.
    """
    lines = [Line(name, [name]) for name in sweep.originals() if name in models]
    for recipe, config in sweep.recipes.items():
        there = [name for seed in sweep.seeds if (name := run_name(recipe, seed)) in models]
        steps = config.steps or 0
        passes = steps * passes_per_step(config)
        values = (f"{config.optimizer.lr:g}", str(steps), str(passes))
        if there:
            lines.append(Line(titles[recipe], there, dict(zip(BUDGET, values, strict=True))))
    return lines


def comparison_table(
    run: EvaluatedRun,
    lines: Sequence[Line],
    reference: str | None = None,
    sets: Averaged | None = None,
) -> TextTable:
    """A line a system: its budget, its accuracies, and their differences to the reference.

    Args:
        run: the evaluation.
        lines: the systems.
        reference: title of the system that differences are to, over the seeds that both have.
            None for no differences.
        sets: of the average that accuracies are on; None for unseen sets, or for all where none is
            unseen.

    Raises:
        RequestError: if there are no results on one of ``sets``.
    """
    place, columns, figures = _figures(run, lines, reference, sets)
    cells = [
        [line.title, *(line.budget.get(key, "") for key in BUDGET), str(len(line.models)), *found]
        for line, found in zip(lines, figures, strict=True)
    ]
    over = f"{place.name[0].upper()}{place.name[1:]}{'' if sets else ' sets'}"
    notes = [f"{over}, {_how_measured(reference, lines)}", *([_which(sets)] if sets else [])]
    shown = [model for line in lines for model in line.models]
    collapsed = [f"warning: {line}" for line in collapse_warnings(run.results, shown)]
    return TextTable(["model", *BUDGET, "seeds", *columns], [cells], [*notes, *collapsed])


def average_table(
    run: EvaluatedRun, lines: Sequence[Line], reference: str, averages: Sequence[Averaged]
) -> TextTable:
    """A group an average and in it a line a system, as in :func:`comparison_table`.

    A note names the averages that are left out since not all of their sets are evaluated.

    Args:
        run: the evaluation.
        lines: the systems.
        reference: title of the system that differences are to.
        averages: one or more.

    Raises:
        RequestError: if there are no results on a set of the first.
    """
    evaluated = {row.dataset for row in run.results.rows}
    runs = [
        run.without_classes_of(one.without) if one.without in evaluated else run for one in averages
    ]
    there = [{row.dataset for row in one.results.rows} for one in runs]
    shown = {
        one: of
        for one, of, sets in zip(averages, runs, there, strict=True)
        if one == averages[0] or (sets.issuperset(one.sets) and evaluated.issuperset(one.asked))
    }
    left_out = [one.name for one in averages if one not in shown]
    notes = [*map(_which, shown)]
    if left_out:
        notes.append(f"Left out, since not all of their sets are evaluated: {', '.join(left_out)}.")
    groups = {f"of {len(one.entries)} ({one.name})": (of, one) for one, of in shown.items()}
    return _grouped("average", groups, lines, reference, notes)


def set_table(run: EvaluatedRun, lines: Sequence[Line], reference: str) -> TextTable:
    """A group a data set and in it a line a system, as in :func:`comparison_table`.

    Args:
        run: the evaluation.
        lines: the systems.
        reference: title of the system that differences are to.
    """
    seen = {row.dataset for row in run.results.rows if row.seen}
    groups = {
        f"{name} (seen)" if name in seen else name: (run, Averaged(name, ((name,),)))
        for name in dict.fromkeys(row.dataset for row in run.results.rows)
    }
    return _grouped("data set", groups, lines, reference, [])


def _grouped(
    what: str,
    groups: Mapping[str, tuple[EvaluatedRun, Averaged]],
    lines: Sequence[Line],
    reference: str,
    notes: Sequence[str],
) -> TextTable:
    cells, columns = [], ["n"]
    for name, (run, sets) in groups.items():
        _, columns, figures = _figures(run, lines, reference, sets)
        pairs = zip(lines, figures, strict=True)
        cells.append([[name, found[0], line.title, *found[1:]] for line, found in pairs])
    measured = _how_measured(reference, lines)
    measured = measured[0].upper() + measured[1:]
    return TextTable([what, columns[0], "model", *columns[1:]], cells, [measured, *notes])


def _figures(
    run: EvaluatedRun, lines: Sequence[Line], reference: str | None, sets: Averaged | None
) -> tuple[Place, list[str], list[list[str]]]:
    """The average, the columns of its figures, and the cells of each line."""
    attacks = list(dict.fromkeys(row.condition for row in run.results.rows))
    columns = ["n", "clean", *attacks]
    to = _reference(lines, reference) if reference else None
    if to is not None:
        columns += [f"{name} against {to.title}" for name in ("clean", *attacks)]
    found = {attack: _series(run.results, attack, lines, sets) for attack in attacks}
    place = found[attacks[0]][0]
    cells = []
    for line in lines:
        series = [of[line.title] for _, of in found.values()]
        row = [str(place.n), series[0].clean[place.name].in_per_cent()]
        row += [one.robust[place.name].in_per_cent() for one in series]
        if to is not None:
            row += _differences(run, attacks, to, line, sets)
        cells.append(row)
    return place, columns, cells


def _how_measured(reference: str | None, lines: Sequence[Line]) -> str:
    how = "per cent; 95 % intervals over samples, or over seeds where that is wider."
    if reference is None:
        return how
    how += " Differences in points, samples paired within a seed."
    to = _reference(lines, reference)
    if any(len(seed_pairs(to, line)) < len(to.models) for line in lines):
        how += f" Where a model lacks seeds of {to.title}, they are over those that both have."
    return how


def _which(sets: Averaged) -> str:
    """The sets of an average as a sentence."""
    entries = [", ".join(one) if len(one) == 1 else f"({', '.join(one)})" for one in sets.entries]
    grouped = "; sets in brackets count once together" if len(sets.sets) > len(entries) else ""
    classes = f", without classes that {sets.without} has" if sets.without else ""
    over = f"{', '.join(entries)}{classes}{grouped}"
    return f"The average of {len(entries)} ({sets.name}) is over {over}."


def _reference(lines: Sequence[Line], title: str) -> Line:
    return next((line for line in lines if line.title == title), lines[0])


def _differences(
    run: EvaluatedRun, attacks: Sequence[str], to: Line, line: Line, sets: Averaged | None
) -> list[str]:
    pairs = seed_pairs(to, line)
    if line == to or not pairs:
        return [""] * (1 + len(attacks))
    found = [gaps(run, attack, pairs, sets) for attack in attacks]
    return [found[0][0].in_points(), *(robust.in_points() for _, robust in found)]


def seed_pairs(first: Line, second: Line) -> list[tuple[str, str]]:
    """Models of the same seed; one that has none, an original, goes with each of the other's."""
    return [
        (one, other)
        for one in first.models
        for other in second.models
        if "" in (seeds := (seed_of(one), seed_of(other))) or seeds[0] == seeds[1]
    ]


def comparison_points(
    results: Results, attack: str, lines: Sequence[Line], sets: Averaged | None = None
) -> tuple[Place, list[Point]]:
    """The systems in the plane of clean and robust accuracy under an attack, and over what.

    Raises:
        RequestError: if there are no results on one of ``sets``.
    """
    place, series = _series(results, attack, lines, sets)
    points = []
    for title, one in series.items():
        seeds = [
            (average.clean_acc, average.robust_acc)
            for average in averages_under(results, attack, sets)
            if average.model in one.models and average.over == place.over
        ]
        clean, robust = one.clean[place.name], one.robust[place.name]
        points.append(
            Point(
                title,
                clean.accuracy,
                robust.accuracy,
                clean.interval,
                robust.interval,
                tuple(seeds) if len(seeds) > 1 else (),
                one.method,
            )
        )
    return place, points


def _series(
    results: Results, attack: str, lines: Sequence[Line], sets: Averaged | None
) -> tuple[Place, dict[str, Series]]:
    """The average that says most, and each line's series by its title."""
    places, series = accuracy_series(results, attack, sets)
    found = {model: one for one in series for model in one.models}
    return main_average(places), {line.title: found[line.models[0]] for line in lines}
