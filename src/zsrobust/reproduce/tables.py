"""What a replication shows, from its gathered results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zsrobust.evaluation.checks.collapse import collapse_warnings
from zsrobust.evaluation.comparison.gap import gaps
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.reporting.figures.series import accuracy_series, main_average
from zsrobust.reporting.tables import TextTable


@dataclass(frozen=True)
class Line:
    """A system in a comparison.

    Attributes:
        title: in the table.
        models: its models, a seed each.
        budget: cells of :data:`BUDGET`; none for the original.
    """

    title: str
    models: Sequence[str]
    budget: Sequence[str] = ()


BUDGET = ("learning rate", "steps", "passes")


def comparison_table(run: EvaluatedRun, lines: Sequence[Line], reference: Line) -> TextTable:
    """A line a system: its budget, its accuracies, and how far it lies above the reference.

    Args:
        run: the evaluation.
        lines: the systems, the reference among them.
        reference: what differences are to; systems with as many seeds have them.
    """
    attacks = list(dict.fromkeys(row.condition for row in run.results.rows))
    columns = ["model", *BUDGET, "seeds", "n", "clean", *attacks]
    for under in ("clean", *attacks):
        columns.append(f"{under} against {reference.title}")
    found = {under: accuracy_series(run.results, under) for under in attacks}
    place = main_average(found[attacks[0]][0])
    cells = []
    for line in lines:
        of = {
            under: next(one for one in series if one.models[0] == line.models[0])
            for under, (_, series) in found.items()
        }
        row = [line.title, *(line.budget or [""] * len(BUDGET)), str(len(line.models))]
        compared = len(line.models) == len(reference.models) and line != reference
        pairs = list(zip(reference.models, line.models, strict=True)) if compared else []
        row += [str(place.n), of[attacks[0]].clean[place.name].in_per_cent()]
        row += [series.robust[place.name].in_per_cent() for series in of.values()]
        differences = [gaps(run, under, pairs) for under in attacks] if compared else []
        if differences:
            row += [differences[0][0].in_points(), *(gap.in_points() for _, gap in differences)]
        else:
            row += [""] * (1 + len(attacks))
        cells.append(row)
    note = (
        f"{place.name.capitalize()} sets, per cent; 95 % intervals over samples, or over seeds "
        "where that is wider. Differences in points, samples paired within a seed."
    )
    shown = [model for line in lines for model in line.models]
    collapsed = [f"warning: {line}" for line in collapse_warnings(run.results, shown)]
    return TextTable(columns, [cells], [note, *collapsed])


def tuning_table(
    scores: Mapping[str, Mapping[float, float]], titles: Mapping[str, str]
) -> TextTable:
    """A line a method with a score: that of every learning rate tried, the best one in bold."""
    rates = sorted({rate for found in scores.values() for rate in found})
    cells = []
    for method, found in ((method, found) for method, found in scores.items() if found):
        best = max(sorted(found), key=lambda rate: found[rate])
        row = [titles[method]]
        for rate in rates:
            score = found.get(rate)
            text = "" if score is None else "diverged" if score < 0 else f"{100 * score:.1f}"
            row.append(f"**{text}**" if rate == best else text)
        cells.append(row)
    return TextTable(["model", *(f"{rate:g}" for rate in rates)], [cells])
