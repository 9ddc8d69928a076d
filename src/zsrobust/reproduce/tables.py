"""What a replication shows, from its gathered results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.gap import average_rows, gaps
from zsrobust.evaluation.statistics import average_interval, seeds_interval
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
    attacks = list(dict.fromkeys(row.under for row in run.results.rows))
    columns = ["model", *BUDGET, "seeds", "n", "clean", *attacks]
    for under in ("clean", *attacks):
        columns.append(f"{under} against {reference.title}")
    cells = []
    for line in lines:
        row = [line.title, *(line.budget or [""] * len(BUDGET)), str(len(line.models))]
        compared = len(line.models) == len(reference.models) and line != reference
        pairs = list(zip(reference.models, line.models, strict=True)) if compared else []
        found = [gaps(run, under, pairs) for under in attacks] if compared else []
        n, clean, _ = _accuracies(run, attacks[0], line.models)
        row += [str(n), clean, *(_accuracies(run, under, line.models)[2] for under in attacks)]
        if found:
            row += [found[0][0].in_points(), *(gap.in_points() for _, gap in found)]
        else:
            row += [""] * (1 + len(attacks))
        cells.append(row)
    rows = average_rows(run, attacks[0], lines[0].models)[lines[0].models[0]]
    note = (
        f"Average of {len(rows)} unseen sets, per cent; 95 % intervals over samples, or over seeds "
        "where that is wider. Differences in points, samples paired within a seed."
    )
    return TextTable(columns, [cells], [note])


def _accuracies(run: EvaluatedRun, under: str, models: Sequence[str]) -> tuple[int, str, str]:
    """Samples a seed, and clean and robust accuracy in words, averaged over sets and seeds."""
    of = average_rows(run, under, models)
    words = []
    for kind in ("clean", "robust"):
        means, intervals = [], []
        for rows in of.values():
            accuracies = [getattr(row, f"{kind}_acc") for row in rows]
            means.append(sum(accuracies) / len(accuracies))
            intervals.append(
                average_interval(accuracies, [getattr(row, f"ci95_{kind}") for row in rows])
            )
        low, high = (100 * min(1.0, max(0.0, x)) for x in seeds_interval(means, intervals))
        words.append(f"{100 * sum(means) / len(means):.1f} ({low:.1f}-{high:.1f})")
    return sum(row.n for row in next(iter(of.values()))), words[0], words[1]


def tuning_table(
    scores: Mapping[str, Mapping[float, float]], titles: Mapping[str, str]
) -> TextTable:
    """A line a method: the score of every learning rate tried, the chosen one in bold."""
    rates = sorted({rate for found in scores.values() for rate in found})
    cells = []
    for method, found in scores.items():
        best = max(sorted(found), key=lambda rate: found[rate])
        row = [titles[method]]
        for rate in rates:
            score = found.get(rate)
            text = "" if score is None else "diverged" if score < 0 else f"{100 * score:.1f}"
            row.append(f"**{text}**" if rate == best else text)
        cells.append(row)
    return TextTable(["model", *(f"{rate:g}" for rate in rates)], [cells])
