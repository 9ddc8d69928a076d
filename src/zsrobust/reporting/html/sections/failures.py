"""Where models fail: confusions, the hardest and easiest classes, and samples that fell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import zip_longest
from pathlib import Path

from zsrobust.evaluation.adversarial import FOLDER, SAMPLES
from zsrobust.evaluation.checks.collapse import collapsed_models
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.failures import class_accuracies, confusions
from zsrobust.evaluation.gallery import Gallery
from zsrobust.evaluation.results import Row
from zsrobust.reporting.figures.gallery import magnification
from zsrobust.reporting.figures.series import Series, accuracy_series, main_average, strongest
from zsrobust.reporting.html.blocks import Block, Grid, Paragraph, Pictures, Section
from zsrobust.reporting.html.sections.gallery import pictures_of, sample_titles
from zsrobust.reporting.inputs import Group
from zsrobust.reporting.names import display_names
from zsrobust.reporting.tables import TextTable
from zsrobust.utils.errors import RequestError

LINES = 12
"""Confusions that the page shows of all methods together, and classes at either end."""
ENDS = 10
PICTURES = 6
"""Saved samples that the page shows."""

Found = tuple[EvaluatedRun, Row]


def failures_section(group: Group) -> Section | None:
    """None where no outcome of a sample is there."""
    condition = strongest(group.results)
    places, series = accuracy_series(group.results, condition)
    place = main_average(places).name
    read = cache(_read)
    found = {
        one.models: [row for model in one.models for row in _rows(group, model, condition, read)]
        for one in series
    }
    series = [one for one in series if found[one.models]]
    blocks: list[Block] = []
    if confused := _confused(series, found):
        caption = f"Most frequent confusions under {condition}, of samples that were right before"
        blocks.append(Grid(f"{group.prefix}confused", caption, confused))
    if series:
        collapsed = collapsed_models(group.results)
        standing = [one for one in series if collapsed.isdisjoint(one.models)]
        best = max(standing or series, key=lambda one: one.robust[place].accuracy)
        classes = _classes(found[best.models])
        if len(classes) > 1:
            caption = f"Classes of {best.legend} by accuracy under {condition}, in per cent"
            blocks.append(Grid(f"{group.prefix}hardest", caption, _ends(classes)))
    if series:
        tables = (f"{group.prefix}{name}.csv" for name in ("confusions", "classes"))
        blocks.append(Paragraph("Every model, set and attack:", files=tuple(tables)))
    if not blocks:
        return None
    return Section("Failures", f"{group.prefix}failures", blocks)


def failure_tables(group: Group) -> dict[str, TextTable]:
    """By name of their file, confusions and classes of every model, set and attack."""
    names = display_names(
        group.results, list(dict.fromkeys(row.model for row in group.results.rows))
    )
    read = cache(_read)
    confused: list[list[str]] = []
    classes: list[list[str]] = []
    for model, name in names.items():
        for condition in dict.fromkeys(row.condition for row in group.results.rows):
            for run, row in _rows(group, model, condition, read):
                key = [name, row.dataset, condition]
                confused += [
                    [*key, one.label, one.predicted, str(one.count), str(one.of)]
                    for one in confusions(run, row)
                ]
                classes += [
                    [*key, one.name, *map(str, (one.n, one.clean / one.n, one.robust / one.n))]
                    for one in class_accuracies(run, row)
                ]
    key = ["model", "data set", "attack"]
    if not classes:
        return {}
    return {
        "confusions": TextTable([*key, "class", "predicted as", "count", "of"], [confused]),
        "classes": TextTable([*key, "class", "n", "clean accuracy", "robust accuracy"], [classes]),
    }


def _read(folder: Path) -> EvaluatedRun | None:
    try:
        return EvaluatedRun.read(folder)
    except RequestError:
        return None


def _rows(
    group: Group, model: str, condition: str, read: Callable[[Path], EvaluatedRun | None]
) -> Iterator[Found]:
    """A model's rows under an attack, with the outcomes behind them where these are there."""
    done = set()
    for part in group.parts[model]:
        run = read(Path(part.run))
        for row in part.rows:
            if run is not None and row.condition == condition and row.dataset not in done:
                done.add(row.dataset)
                yield run, row


def _confused(series: list[Series], found: dict[tuple[str, ...], list[Found]]) -> TextTable | None:
    """The most frequent ones of each method, over its seeds and all sets."""
    groups = []
    for one in series:
        counts: Counter[tuple[str, str, str]] = Counter()
        of: Counter[tuple[str, str, str]] = Counter()
        for run, row in found[one.models]:
            for confusion in confusions(run, row):
                key = row.dataset, confusion.label, confusion.predicted
                counts[key] += confusion.count
                of[key] += confusion.of
        most = sorted(counts, key=lambda key: (-counts[key], key))
        groups.append(
            [
                [one.legend, key[0], f"{key[1]} → {key[2]}", f"{counts[key]} of {of[key]}"]
                for key in most[: max(1, LINES // len(series))]
            ]
        )
    columns = ["model", "data set", "class → predicted as", "samples"]
    groups = [group for group in groups if group]
    return TextTable(columns, groups) if groups else None


def _classes(found: list[Found]) -> list[tuple[float, float, int, str, str]]:
    """Robust and clean accuracy, samples, class and set, the lowest first, over seeds."""
    totals: dict[tuple[str, str], list[int]] = {}
    for run, row in found:
        for one in class_accuracies(run, row):
            total = totals.setdefault((row.dataset, one.name), [0, 0, 0])
            for at, count in enumerate((one.robust, one.clean, one.n)):
                total[at] += count
    return sorted(
        (robust / n, clean / n, n, name, dataset)
        for (dataset, name), (robust, clean, n) in totals.items()
    )


def _ends(classes: list[tuple[float, float, int, str, str]]) -> TextTable:
    """The worst and the best, all where these are all."""
    lines = [
        [name, dataset, str(n), f"{100 * clean:.1f}", f"{100 * robust:.1f}"]
        for robust, clean, n, name, dataset in classes
    ]
    whole = len(lines) <= 2 * ENDS
    groups = [lines] if whole else [lines[:ENDS], lines[-ENDS:]]
    notes = [] if whole else [f"The {ENDS} worst and the {ENDS} best of {len(lines)} classes."]
    return TextTable(["class", "data set", "n", "clean", "robust"], groups, notes)


def misclassified_section(group: Group) -> Section | None:
    """Saved samples that fell, of every model and set in turn; None where there is none."""
    condition = strongest(group.results)
    galleries = [
        gallery
        for run in group.runs
        for path in sorted((run.folder / FOLDER).glob(f"*/{SAMPLES}"))
        for gallery in [Gallery.read(path)]
        if gallery.attack == condition
    ]
    fallen = [
        [
            (gallery, item)
            for item in gallery.items
            if not all(one.right for one in item.views[-1].predictions.values())
        ]
        for gallery in galleries
    ]
    turns = [pair for turn in zip_longest(*fallen) for pair in turn if pair is not None]
    turns = turns[:PICTURES]
    if not turns:
        return None
    models = [item.views[-1].against for _, item in turns]
    names = display_names(group.results, list(group.parts)) if len(set(models)) > 1 else {}
    titles = sample_titles(
        [(item, names.get(model, "")) for (_, item), model in zip(turns, models, strict=True)]
    )
    words = (
        f"Samples of --save_adversarial that are misclassified under {condition}. In the "
        "perturbation grey is zero."
    )
    rows = [
        Pictures(title, pictures_of(item, gallery, magnification(gallery)))
        for title, (gallery, item) in zip(titles, turns, strict=True)
    ]
    name = f"{group.prefix}misclassified"
    return Section("Misclassified samples", name, [Paragraph(words), *rows])
