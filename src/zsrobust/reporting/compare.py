"""Tables of comparisons: model against model, and ours next to published numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from zsrobust.evaluation.comparison.paired import Line, Pair
from zsrobust.evaluation.comparison.published import PublishedMatch
from zsrobust.evaluation.comparison.seeds import OverSeeds, Spread
from zsrobust.models.names import short_names
from zsrobust.reporting.tables import TextTable
from zsrobust.utils.units import Eps, format_radius

HOW_COMPARED = (
    "Differences are in points, second minus first, with 95 % intervals by paired bootstrap over "
    "samples. p is McNemar's, corrected by Holm over the sets under one attack and uncorrected for "
    "an average; real means p below 0.05, so an interval that just misses zero may still be not "
    "distinguishable. Chance here is that of the samples, not of training: one run per method "
    "leaves open what another seed would give. Collapsed means that a model has, so that its "
    "accuracy under attack says nothing."
)
HOW_PUBLISHED = (
    "Published rows are matched by the name of the set, the kind of attack and eps; they do not "
    "record the attack resolution, the resize or the prompts, so these may differ too."
)


def comparison_table(pair: Pair) -> TextTable:
    """One line a set (or average) and attack: both accuracies, difference, p and verdict."""
    short = short_names([pair.first, pair.second])
    columns = ["data set", "attack", "n", short[pair.first], short[pair.second]]
    columns += ["difference", "p", "difference is"]
    by_set = groupby(pair.lines, key=lambda line: line.dataset)
    return TextTable(columns, [[_line(line) for line in lines] for _, lines in by_set])


def published_table(found: Sequence[PublishedMatch]) -> tuple[TextTable, list[str]]:
    """Ours, then the published rows of the same set, attack kind and eps; and the footnotes.

    The last column names the footnotes that say in what a published row's protocol differs.
    """
    marks: dict[str, str] = {}
    groups = []
    short = short_names(list(dict.fromkeys(one.ours.model for one in found)))
    for (row, clean), rows in groupby(found, key=lambda one: (one.ours, one.clean)):
        condition = "clean" if clean else f"{row.attack} {Eps(row.eps)}"
        ours = f"{100 * (row.clean_acc if clean else row.robust_acc):.1f}"
        group = [[row.dataset, short[row.model], condition, ours, "here", ""]]
        for one in rows:
            for difference in one.differs:
                marks.setdefault(difference, str(len(marks) + 1))
            printed = one.published
            condition = "clean" if clean else f"{printed.attack} {printed.eps_255}/255"
            differs = " ".join(sorted((marks[difference] for difference in one.differs), key=int))
            accuracy = f"{100 * one.accuracy:.1f}"
            group.append(
                [row.dataset, printed.method, condition, accuracy, printed.source, differs]
            )
        groups.append(group)
    columns = ["data set", "model", "attack", "accuracy", "source", "differs in"]
    return TextTable(columns, groups), [
        f"{mark}: {difference}" for difference, mark in marks.items()
    ]


def seeds_table(summaries: Sequence[OverSeeds]) -> TextTable:
    """Mean over seeds, in per cent, with its standard deviation and Student's 95 % interval."""
    by_set: dict[str, list[list[str]]] = {}
    for one in summaries:
        condition = f"{one.attack} {format_radius(one.norm, one.eps)}"
        figures = [str(one.seeds), _spread(one.clean), condition, _spread(one.robust)]
        by_set.setdefault(one.dataset, []).append([one.dataset, one.method, *figures])
    columns = ["data set", "model", "seeds", "clean", "attack", "robust"]
    return TextTable(columns, list(by_set.values()))


def _spread(spread: Spread) -> str:
    mean = f"{100 * spread.mean:.1f}"
    if math.isnan(spread.deviation):
        return mean
    low, high = (100 * limit for limit in spread.interval)
    return f"{mean} ± {100 * spread.deviation:.1f} ({low:.1f} to {high:.1f})"


def _line(line: Line) -> list[str]:
    found = line.difference
    low, high = (100 * limit for limit in found.interval)
    return [
        *(_name(line), line.condition, str(line.n)),
        *(f"{100 * found.first:.1f}", f"{100 * found.second:.1f}"),
        f"{100 * found.difference:+.1f} ({low:+.1f} to {high:+.1f})",
        "<0.001" if line.p < 0.001 else f"{line.p:.3f}",
        line.verdict,
    ]


def _name(line: Line) -> str:
    average = line.dataset.startswith("average of ")
    return f"{line.dataset} (seen)" if line.seen and not average else line.dataset
