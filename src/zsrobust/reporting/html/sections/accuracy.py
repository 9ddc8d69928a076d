"""Accuracy: averages, every set, the trade-off, the radii, the attacks, and all tables."""

from __future__ import annotations

from zsrobust.evaluation.comparison.seeds import aggregate_seeds
from zsrobust.evaluation.results import Results
from zsrobust.reporting.compare import seeds_table
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.reporting.figures.eps_curve import attacks_with_radii, eps_figure
from zsrobust.reporting.figures.series import Series, accuracy_series, main_average, strongest
from zsrobust.reporting.figures.tradeoff import Point, tradeoff_figure
from zsrobust.reporting.html.blocks import FOLDED, Block, Chart, Grid, Paragraph, Section
from zsrobust.reporting.inputs import Group
from zsrobust.reporting.names import display_names
from zsrobust.reporting.summary import attack_table, defence_table, parts_table, summary_table
from zsrobust.reporting.tables import accuracy_table

FEW = 4
"""Methods up to which their models are named below the averages; the appendix names all."""


def accuracy_sections(group: Group) -> list[Section]:
    """Figures and short tables, for one group of evaluations."""
    sections = [_every_set(group)]
    if len({row.model for row in group.results.rows}) > 1:
        sections.append(_tradeoff(group))
    if attacks_with_radii(group.results):
        sections.append(_radii(group))
    if len({row.condition for row in group.results.rows}) > 1:
        sections.append(_attacks(group))
    if defences := defence_table(group.results, _names(group.results)):
        grid = Grid(f"{group.prefix}defences", "Accuracy behind test-time defences", defences)
        sections.append(Section("Test-time defences", f"{group.prefix}by-defence", [grid]))
    return sections


def _names(results: Results) -> dict[str, str]:
    return display_names(results, list(dict.fromkeys(row.model for row in results.rows)))


def accuracy_tables(group: Group) -> list[Grid]:
    """Every figure of one group of evaluations, for the appendix."""
    results = group.results
    names = _names(results)
    found = [
        (
            "accuracy-table",
            "Accuracy in per cent with 95 % intervals on every set",
            accuracy_table(results, names),
        )
    ]
    if parts := parts_table(results):
        found.append(("parts", "What is left after each part of an ensemble, in per cent", parts))
    seeds = aggregate_seeds([run.results for run in group.runs])
    if any(one.seeds > 1 for one in seeds):
        caption = (
            "Mean over seeds in per cent, its standard deviation and Student's 95 % interval; "
            "models of one recipe that differ in their seed alone count as its seeds"
        )
        found.append(("seeds", caption, seeds_table(seeds)))
    return [
        Grid(f"{group.prefix}{name}", caption, table, folded=len(table.rows) > FOLDED)
        for name, caption, table in found
    ]


def summary_grid(group: Group) -> Grid:
    """The averages of every method."""
    caption = "Average accuracy in per cent, with 95 % intervals"
    return Grid(f"{group.prefix}summary", caption, summary_table(group.results), cards=True)


def names_blocks(group: Group) -> list[Block]:
    """Which model each method's name stands for, where these are few and have one run each."""
    series = accuracy_series(group.results, strongest(group.results))[1]
    if len(series) > FEW or any(len(one.models) > 1 for one in series):
        return []
    named = [f"{one.legend} is {one.models[0]}" for one in series if one.legend != one.models[0]]
    return [Paragraph(f"{'; '.join(named)}.")] if named else []


def _every_set(group: Group) -> Section:
    results = group.results
    condition = strongest(results)
    chart = Chart(
        f"{group.prefix}accuracy",
        f"Clean accuracy and accuracy under {condition}, with 95 % intervals",
        f"A row a data set, with its averages below: {_describe_averages(results, condition)}. "
        "A table in the appendix has every figure.",
        accuracy_figure(results, condition),
        accuracy_figure(results, condition, narrow=True),
    )
    return Section("Accuracy on every set", f"{group.prefix}every-set", [chart])


def _tradeoff(group: Group) -> Section:
    results = group.results
    condition = strongest(results)
    place = main_average(accuracy_series(results, condition)[0])
    title, points = f"{condition}, {place.name}", tradeoff_points(results, condition)
    chart = Chart(
        f"{group.prefix}tradeoff",
        f"Clean against robust accuracy under {title}; crosses are 95 % intervals, dashed lines "
        "the original, faint dots seeds",
        f"A marker a method: {_describe_averages(results, condition)}.",
        tradeoff_figure(points, condition=title),
        tradeoff_figure(points, condition=title, narrow=True),
    )
    return Section("Trade-off", f"{group.prefix}trade-off", [chart])


def tradeoff_points(results: Results, condition: str) -> list[Point]:
    """A point a method, its average as in :func:`main_average`, and its seeds."""
    places, series = accuracy_series(results, condition)
    place = main_average(places)
    of = {
        average.model: (average.clean_acc, average.robust_acc)
        for average in results.averages
        if average.condition == condition and average.over == place.over
    }
    return [
        Point(
            one.legend,
            one.clean[place.name].accuracy,
            one.robust[place.name].accuracy,
            one.clean[place.name].interval,
            one.robust[place.name].interval,
            seeds=tuple(of[model] for model in one.models) if len(one.models) > 1 else (),
            method=one.method,
        )
        for one in series
    ]


def _radii(group: Group) -> Section:
    attacks = attacks_with_radii(group.results)
    text = "; ".join(
        f"{name} at {', '.join(radii.values())}" for (name, _), radii in attacks.items()
    )
    last = [
        _describe_averages(group.results, list(radii.values())[-1]) for radii in attacks.values()
    ]
    chart = Chart(
        f"{group.prefix}eps",
        "Average accuracy against the radius of the attack, with 95 % intervals; radius 0 is clean",
        f"A curve a method, for {text}. At the largest radius: {'; '.join(last)}.",
        eps_figure(group.results),
        eps_figure(group.results, narrow=True),
    )
    return Section("Accuracy against eps", f"{group.prefix}against-eps", [chart])


def _attacks(group: Group) -> Section:
    name = main_average(accuracy_series(group.results, strongest(group.results))[0]).name
    caption = f"What each attack leaves, {name}: accuracy in per cent with 95 % intervals"
    grid = Grid(f"{group.prefix}attacks", caption, attack_table(group.results), cards=True)
    return Section("Attacks", f"{group.prefix}by-attack", [grid])


def _describe_averages(results: Results, condition: str) -> str:
    places, series = accuracy_series(results, condition)
    name = main_average(places).name
    each = "; ".join(f"{one.legend} {_pair(one, name)}" for one in series)
    return f"{name}, clean and under {condition}: {each}"


def _pair(one: Series, name: str) -> str:
    return f"{one.clean[name].accuracy:.1%} and {one.robust[name].accuracy:.1%}"
