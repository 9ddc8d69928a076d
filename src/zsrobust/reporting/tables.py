"""Tables of results, built once as cells of text and rendered for terminal and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.table import Table

from zsrobust.evaluation.results import Average, Results, Row
from zsrobust.units import Eps

WORDS = ("data set", "model")


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        columns: headings; the first column holds words, the others figures.
        groups: rows that belong together, set apart by a line.
    """

    columns: list[str]
    groups: list[list[list[str]]]

    def for_terminal(self) -> Table:
        """With rules between the groups; what a row shares with the one above is left blank."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for column in self.columns:
            words = column in WORDS
            table.add_column(column, justify="left" if words else "right", no_wrap=not words)
        for group in self.groups:
            above = ""
            for row in group:
                first = "" if row[0] == above else row[0]
                above = row[0]
                table.add_row(first, *row[1:], end_section=row is group[-1])
        return table

    def as_markdown(self) -> str:
        """As a pipe table."""
        rule = ["---" if column in WORDS else "--:" for column in self.columns]
        rows = [self.columns, rule, *(row for group in self.groups for row in group)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def accuracy_table(results: Results) -> TextTable:
    """Clean and robust accuracy in per cent with 95 % intervals: sets, then both averages."""
    attacks = list(dict.fromkeys((row.attack, row.eps) for row in results.rows))
    columns = ["data set", "px", "model", "n", "clean"]
    columns += [f"{name} {Eps(eps)}" for name, eps in attacks]
    short = short_names(list(dict.fromkeys(row.model for row in results.rows)))
    sets: dict[str, dict[str, list[Row]]] = {}
    for row in results.rows:
        sets.setdefault(row.dataset, {}).setdefault(row.model, []).append(row)
    groups = [
        [
            _line(
                [_name(rows[0]), str(rows[0].resolution), short[m], str(rows[0].n)], rows, attacks
            )
            for m, rows in by_model.items()
        ]
        for by_model in sets.values()
    ]
    for over in ("all", "unseen"):
        averages: dict[str, list[Average]] = {}
        for average in results.averages:
            if average.over == over:
                averages.setdefault(average.model, []).append(average)
        group = []
        for model, of in averages.items():
            # An attack that some sets have too few classes for is averaged over the others.
            widest = sorted(of, key=lambda average: -average.datasets)
            name = f"average of {widest[0].datasets} {over}"
            group.append(_line([name, "", short[model], ""], widest, attacks))
        groups.append(group)
    return TextTable(columns, [group for group in groups if group])


def short_names(models: Sequence[str]) -> dict[str, str]:
    """The last part of each model's path or name where that tells them apart, else all of it."""
    paths = {model: Path(model.removeprefix("local-dir:")) for model in models}
    last = {model: path.name for model, path in paths.items() if path.exists()}
    names = {model: last.get(model, model) for model in models}
    return (
        names if len(set(names.values())) == len(models) else dict(zip(models, models, strict=True))
    )


def _name(row: Row) -> str:
    return f"{row.dataset} (seen)" if row.seen else row.dataset


def _line(
    words: list[str], rows: Sequence[Row | Average], attacks: list[tuple[str, float]]
) -> list[str]:
    found = {(row.attack, row.eps): _percent(row.robust_acc, row.ci95_robust) for row in rows}
    clean = _percent(rows[0].clean_acc, rows[0].ci95_clean)
    return [*words, clean, *(found.get(attack, "-") for attack in attacks)]


def _percent(accuracy: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * accuracy:.1f} ({100 * low:.1f}-{100 * high:.1f})"
