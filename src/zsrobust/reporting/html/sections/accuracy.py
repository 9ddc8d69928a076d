"""Sections on accuracy: in short, every set, the trade-off, the radii, the attacks."""

from __future__ import annotations

from zsrobust.evaluation.comparison.seeds import aggregate_seeds
from zsrobust.evaluation.results import Results
from zsrobust.reporting.compare import seeds_table
from zsrobust.reporting.figures.accuracy import accuracy_figure
from zsrobust.reporting.figures.eps_curve import attacks_with_radii, eps_figure
from zsrobust.reporting.figures.series import Series, accuracy_series, main_average, strongest
from zsrobust.reporting.figures.tradeoff import Point, tradeoff_figure
from zsrobust.reporting.html.blocks import Block, Chart, Grid, Paragraph, Section
from zsrobust.reporting.inputs import Group
from zsrobust.reporting.summary import attack_table, parts_table, summary_table
from zsrobust.reporting.tables import accuracy_table


def accuracy_sections(group: Group) -> list[Section]:
    """All of them, for one group of evaluations."""
    sections = [_every_set(group), _tradeoff(group)]
    if attacks_with_radii(group.results):
        sections.append(_radii(group))
    if len({row.condition for row in group.results.rows}) > 1 or parts_table(group.results):
        sections.append(_attacks(group))
    if any(one.seeds > 1 for one in aggregate_seeds([run.results for run in group.runs])):
        sections.append(_seeds(group))
    return sections


def summary_blocks(group: Group) -> list[Block]:
    """Both averages of every method."""
    caption = "Both averages: accuracy in per cent, with 95 % intervals"
    return [Grid(f"{group.prefix}summary", caption, summary_table(group.results))]


def _every_set(group: Group) -> Section:
    results = group.results
    condition = strongest(results)
    attacks = dict.fromkeys(row.condition for row in results.rows)
    others = f", {len(attacks)} attacks and radii" if len(attacks) > 1 else ""
    blocks: list[Block] = [
        Chart(
            f"{group.prefix}accuracy",
            f"Clean accuracy and accuracy under {condition} of every method on every set, with "
            "95 % intervals",
            f"A row a data set, with its averages below: {_describe_averages(results, condition)}. "
            "The table below has every figure.",
            accuracy_figure(results, condition),
        ),
        Grid(
            f"{group.prefix}accuracy-table",
            f"Accuracy in per cent with 95 % intervals on every set{others}",
            accuracy_table(results),
            folded=True,
        ),
    ]
    return Section("Clean and robust accuracy", f"{group.prefix}every-set", blocks)


def _tradeoff(group: Group) -> Section:
    results = group.results
    condition = strongest(results)
    place = main_average(accuracy_series(results, condition)[0])
    title = f"{condition}, {place.name}"
    chart = Chart(
        f"{group.prefix}tradeoff",
        f"Clean against robust accuracy under {title}; crosses are 95 % intervals, dashed lines "
        "the original, faint dots seeds",
        f"A marker a method: {_describe_averages(results, condition)}.",
        tradeoff_figure(tradeoff_points(results, condition), condition=title),
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
    )
    return Section("Accuracy against eps", f"{group.prefix}against-eps", [chart])


def _attacks(group: Group) -> Section:
    name = main_average(accuracy_series(group.results, strongest(group.results))[0]).name
    blocks: list[Block] = []
    if len({row.condition for row in group.results.rows}) > 1:
        caption = f"What each attack leaves, {name}: accuracy in per cent with 95 % intervals"
        blocks.append(Grid(f"{group.prefix}attacks", caption, attack_table(group.results)))
    parts = parts_table(group.results)
    if parts:
        caption = "What is left after each part of an ensemble, in per cent"
        blocks.append(Grid(f"{group.prefix}parts", caption, parts, folded=True))
    return Section("Attacks", f"{group.prefix}by-attack", blocks)


def _seeds(group: Group) -> Section:
    summaries = aggregate_seeds([run.results for run in group.runs])
    caption = "Mean over seeds in per cent, its standard deviation and Student's 95 % interval"
    return Section(
        "Seeds",
        f"{group.prefix}over-seeds",
        [
            Paragraph("Models of one recipe that differ in their seed alone count as its seeds."),
            Grid(f"{group.prefix}seeds", caption, seeds_table(summaries), folded=True),
        ],
    )


def _describe_averages(results: Results, condition: str) -> str:
    places, series = accuracy_series(results, condition)
    name = main_average(places).name
    each = "; ".join(f"{one.legend} {_pair(one, name)}" for one in series)
    return f"{name}, clean and under {condition}: {each}"


def _pair(one: Series, name: str) -> str:
    return f"{one.clean[name].accuracy:.1%} and {one.robust[name].accuracy:.1%}"
