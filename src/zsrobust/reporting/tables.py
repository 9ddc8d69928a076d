"""Tables of results: built once as cells of text, rendered for terminal, Markdown, CSV and LaTeX.

pandas was tried for the last three. Its ``to_latex`` escapes neither the caption nor ``< > | ± [``,
and has no rules between groups and no notes; its ``to_markdown`` needs tabulate.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from zsrobust.evaluation.averages import Average
from zsrobust.evaluation.checks.collapse import chance_notes
from zsrobust.evaluation.results import Results, Row
from zsrobust.models.names import short_names

TEXT_COLUMNS = ("data set", "average", "model", "attack", "photograph")
LONG = 28
"""Letters from which on a cell may be broken into lines."""
SENTENCE = 60
"""Letters from which on a cell holds more than a name."""
PAGE = 100
"""Letters of a line from which on a table does not fit a page in LaTeX."""
BESIDE = 2
"""Rows of such a table that are set side by side."""
# 12, <0.001, 3.11.7, 84.7 (83.4-85.6), +7.8 (+6.4 to +8.9), 5.0 ± 0.3, 12.0* [of 3], 30 [n 200],
# 12.0 / 84.7
_FIGURE = re.compile(r"[-+<]?\d[-+±.,()\d\s]*(to [-+.\d]+\))?[*†‡]*( \[(of|n) \d+\])?( / [-.\d]+)?")
_LATEX = str.maketrans(
    {
        **{letter: f"\\{letter}" for letter in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"\textpm{}"},
        **{"†": r"\textdagger{}", "‡": r"\textdaggerdbl{}", "✓": "+", "✗": "-", "…": r"\dots{}"},
        # After the end of a row a bracket would be an option.
        "[": "{[}",
    }
)


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        columns: headings; the first column holds text, the others figures.
        groups: rows that belong together, set apart by a line.
        notes: lines to print below.
    """

    columns: list[str]
    groups: list[list[list[str]]]
    notes: list[str] = field(default_factory=list)

    def for_terminal(self, width: int = 10**6) -> Table:
        """With rules between the groups; what a row shares with the one above is left blank.

        Where it does not fit ``width`` characters, every row is a column of its own.
        """
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for column in self.columns:
            text = column in TEXT_COLUMNS
            table.add_column(column, justify="left" if text else "right", no_wrap=not text)
        for group in self.groups:
            above = ""
            for row in group:
                first = "" if row[0] == above else row[0]
                above = row[0]
                table.add_row(first, *row[1:], end_section=row is group[-1])
        fits = Console(width=10**6).measure(table).maximum <= width
        return table if fits else self._one_below_the_other()

    def _one_below_the_other(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
        for row in self.rows:
            for column, cell in zip(self.columns, row, strict=True):
                table.add_row(column, cell)
            table.add_row()
        return table

    def as_markdown(self) -> str:
        """As a pipe table."""
        rule = ["---" if column in TEXT_COLUMNS else "--:" for column in self.columns]
        rows = [self.columns, rule, *(row for group in self.groups for row in group)]
        lines = [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows
        ]
        return "\n".join([*lines, *(f"\n{note}" for note in self.notes)]) + "\n"

    @property
    def rows(self) -> list[list[str]]:
        """Those of all groups, one after the other."""
        return [row for group in self.groups for row in group]

    @property
    def kinds(self) -> list[str]:
        """For each column ``figure``, ``long`` text or ``text``: how it is set."""
        return [_kind([row[index] for row in self.rows]) for index in range(len(self.columns))]

    @property
    def prose(self) -> bool:
        """Whether a cell holds a sentence, beside others."""
        return len(self.columns) > 2 and any(len(cell) > SENTENCE for r in self.rows for cell in r)

    def condensed(self) -> TextTable:
        """For a reader: what is the same in every row is said once, in the last note.

        One row alone is set as a column.
        """
        rows = self.rows
        if len(rows) == 1:
            pairs = [[name, cell] for name, cell in zip(self.columns, rows[0], strict=True)]
            return TextTable(["field", "value"], [pairs], self.notes)
        columns = list(zip(*rows, strict=True))
        differ = [not at or len(set(column)) > 1 for at, column in enumerate(columns)]
        same = [
            f"{name} {column[0]}"
            for name, column, different in zip(self.columns, columns, differ, strict=True)
            if not different and column[0] not in ("", "-")
        ]
        return TextTable(
            list(compress(self.columns, differ)),
            [[list(compress(row, differ)) for row in group] for group in self.groups],
            [*self.notes, *([f"The same for all: {'; '.join(same)}."] if same else [])],
        )

    def as_csv(self) -> str:
        """As comma-separated values with a line of headings; notes are left out.

        Text that a spreadsheet would take for a formula gets an apostrophe before it.
        """
        text = io.StringIO()
        lines = [map(_no_formula, line) for line in [self.columns, *self.rows]]
        csv.writer(text, lineterminator="\n").writerows(lines)
        return text.getvalue()

    def as_latex(self, caption: str) -> str:
        """As a LaTeX table of package booktabs, a rule between groups and the notes below.

        Where several columns of text are too wide for a page, rows are set as columns, ``BESIDE``
        of them side by side.
        """
        kinds = self.kinds
        if kinds.count("long") > 1 and self._letters > PAGE:
            beside = min(BESIDE, len(self.rows))
            sides = "l" + beside * rf"p{{{0.6 / beside:.2f}\linewidth}}"
            groups = self._turned(beside)
        else:
            sides = "".join(_SIDES[kind] for kind in kinds)
            groups = [[self.columns], *self.groups]
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex(caption)}}}"]
        lines += [rf"\begin{{tabular}}{{{sides}}}"]
        for rule, group in zip([r"\toprule", *len(groups) * [r"\midrule"]], groups, strict=False):
            lines += [rule, *map(_latex_row, group)]
        lines += [r"\bottomrule", r"\end{tabular}"]
        lines += [rf"\par {latex(note)}" for note in self.notes]
        return "\n".join([*lines, r"\end{table}"]) + "\n"

    @property
    def _letters(self) -> int:
        """The width of a line, with long text broken."""
        columns = zip(self.columns, *self.rows, strict=True)
        return sum(min(LONG, max(map(len, column))) + 2 for column in columns)

    def _turned(self, beside: int) -> list[list[list[str]]]:
        """Groups of ``beside`` rows each, as columns behind the headings."""
        rows, empty = self.rows, [""] * len(self.columns)
        parts = [rows[first : first + beside] for first in range(0, len(rows), beside)]
        filled = [[*part, *[empty] * (beside - len(part))] for part in parts]
        return [[list(line) for line in zip(self.columns, *part, strict=True)] for part in filled]


def _no_formula(cell: str) -> str:
    is_figure = cell == "-" or _FIGURE.fullmatch(cell)
    return (
        f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not is_figure else cell
    )


_SIDES = {"figure": "r", "text": "l", "long": "p{5cm}"}


def _kind(cells: Sequence[str]) -> str:
    if all(cell in ("", "-") or _FIGURE.fullmatch(cell) for cell in cells):
        return "figure"
    return "long" if max(map(len, cells)) > LONG else "text"


def latex(text: str) -> str:
    """``text`` with what LaTeX reads as a command escaped."""
    return text.translate(_LATEX)


def _latex_row(cells: Sequence[str]) -> str:
    return f"{' & '.join(latex(cell) for cell in cells)} " + r"\\"


def accuracy_table(results: Results, names: Mapping[str, str] | None = None) -> TextTable:
    """Clean and robust accuracy in per cent with 95 % intervals: sets, then averages over them.

    A line a model and a column an attack where there are few attacks; where there are many, a
    line an attack and a column a model.

    Args:
        results: of an evaluation.
        names: what each model is called; by default by its ``short_names``.
    """
    attacks = list(dict.fromkeys(row.condition for row in results.rows))
    called = names or short_names(list(dict.fromkeys(row.model for row in results.rows)))
    few = len(attacks) <= 2
    table = _by_model(results, attacks, called) if few else _by_attack(results, attacks, called)
    return replace(table, notes=_notes(results))


def _by_model(results: Results, attacks: list[str], names: Mapping[str, str]) -> TextTable:
    columns = ["data set", "px", "model", "n", "clean"]
    columns += attacks
    groups = [
        [
            _line(
                [_name(rows[0]), str(rows[0].resolution), names[m], str(rows[0].n)], rows, attacks
            )
            for m, rows in by_model.items()
        ]
        for by_model in _by_set(results).values()
    ]
    for over in ("all", "unseen"):
        groups.append(
            [
                _line([_average_name(of), "", names[m], ""], of, attacks)
                for m, of in _averages(results, over).items()
            ]
        )
    return TextTable(columns, [group for group in groups if group])


def _by_attack(results: Results, attacks: list[str], names: Mapping[str, str]) -> TextTable:
    columns = ["data set", "attack", *names.values()]
    blocks: list[tuple[str, dict[str, list[Row]] | dict[str, list[Average]]]] = []
    for by_model in _by_set(results).values():
        first = next(iter(by_model.values()))[0]
        seen = any(rows[0].seen for rows in by_model.values())
        sides = dict.fromkeys(str(rows[0].resolution) for rows in by_model.values())
        name = f"{first.dataset}{' (seen)' if seen else ''}, n {first.n}, {'/'.join(sides)} px"
        blocks.append((name, by_model))
    for over in ("all", "unseen"):
        of = _averages(results, over)
        if of:
            blocks.append((_average_name(next(iter(of.values()))), of))
    groups = []
    for name, block in blocks:
        lines = [_line([], block[model], attacks) for model in names]
        condition = ["clean", *attacks]
        groups.append(
            [[name, attack, *figures] for attack, *figures in zip(condition, *lines, strict=True)]
        )
    return TextTable(columns, groups)


def _by_set(results: Results) -> dict[str, dict[str, list[Row]]]:
    sets: dict[str, dict[str, list[Row]]] = {}
    for row in results.rows:
        sets.setdefault(row.dataset, {}).setdefault(row.model, []).append(row)
    return sets


def _averages(results: Results, over: str) -> dict[str, list[Average]]:
    """Each model's averages, those over the most sets first.

    An attack that some sets have too few classes for is averaged over the others. One set alone has
    no average.
    """
    averages: dict[str, list[Average]] = {}
    if len({row.dataset for row in results.rows}) == 1:
        return averages
    for average in results.shown_averages:
        if average.over == over:
            averages.setdefault(average.model, []).append(average)
    for of in averages.values():
        of.sort(key=lambda average: -average.datasets)
    return averages


def _average_name(averages: Sequence[Average]) -> str:
    return averages[0].title


def _name(row: Row) -> str:
    return f"{row.dataset} (seen)" if row.seen else row.dataset


def _line(
    text: list[str], rows: Sequence[Row] | Sequence[Average], attacks: list[str]
) -> list[str]:
    found = {row.condition: _robust(row, rows[0]) for row in rows}
    clean = percent(rows[0].clean_acc, rows[0].ci95_clean)
    return [*text, clean, *(found.get(attack, "-") for attack in attacks)]


def _robust(row: Row | Average, widest: Row | Average) -> str:
    figure = percent(row.robust_acc, row.ci95_robust)
    figure += "" if row.adaptive else "†"
    if isinstance(row, Row):
        figure += "‡" if row.sampling else ""
        return figure + ("*" if row.note else "")
    figure += "‡" if row.sampled else ""
    fewer = isinstance(widest, Average) and row.datasets < widest.datasets
    return figure + ("*" if row.changed else "") + (f" [of {row.datasets}]" if fewer else "")


def _notes(results: Results) -> list[str]:
    """What a reader of the figures alone would get wrong."""
    notes = list(dict.fromkeys(f"* {row.dataset}: {row.note}" for row in results.rows if row.note))
    notes += [
        f"† not adaptive: the images of {row.attack} were made without the test-time defence of "
        f"{row.model}"
        for row in results.rows
        if not row.adaptive
    ]
    notes += sampling_notes(results)
    for name, data in results.protocol.get("data", {}).items():
        shown = {row.attack for row in results.rows if row.dataset == name}
        notes += [
            f"{name}: {note}"
            for attack, note in data.get("attack_notes", {}).items()
            if attack not in shown
        ]
    notes += [
        f"{row.dataset}: {doubt}"
        for row in results.rows
        for doubt in _model_settings(results, row).get("class_name_warnings", ())
    ]
    notes += [
        f"{row.model} on {row.dataset}, {row.condition}: {row.ties} within float noise of a tie"
        for row in results.rows
        if row.ties
    ]
    notes += chance_notes(results, {row.model for row in results.rows})
    for attack in results.protocol.get("attacks", ()):
        own = {"logit_scale": None, "restarts": 1, "random_start": True}
        changed = [f"{k} {attack[k]}" for k, usual in own.items() if attack.get(k, usual) != usual]
        if changed:
            notes.append(f"{attack['name']}: {', '.join(changed).replace('_', ' ')}")
    unknown = dict.fromkeys(r.model for r in results.rows if "@" in r.model)
    notes += [
        f"what {model} was trained on is not recorded: what counts as unseen may not be"
        for model in unknown
    ]
    if results.protocol.get("samples") is not None:
        notes.append("accuracies are class-balanced")
    return list(dict.fromkeys(notes))


def sampling_notes(results: Results) -> list[str]:
    """What ‡ means, for every model and attack that was estimated in two phases."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in results.rows:
        if row.sampling:
            key = row.model, row.condition, row.sampling.interval
            found.setdefault(key, []).append(row)
    notes = []
    for (model, condition, interval), rows in found.items():
        drawn: Counter[str] = Counter()
        standing = n = 0
        for row in rows:
            assert row.sampling is not None
            drawn.update(row.sampling.tested)
            standing += row.sampling.standing
            n += row.n
        first = next(iter(rows[0].after_part))
        of = "the population" if interval == "population" else "these images alone"
        parts = " and ".join(f"{part} on {count:,}" for part, count in drawn.items())
        notes.append(
            f"‡ {model}, {condition}: two-phase estimate, {first} on all {n:,} samples, {parts} of "
            f"the {standing:,} that stand it; 95 % interval of {of}"
        )
    return notes


def _model_settings(results: Results, row: Row) -> dict[str, Any]:
    """What the protocol says of the row's model on its data set."""
    data = results.protocol.get("data", {}).get(row.dataset, {})
    return dict(data.get(f"under {row.model}", {}))


def percent(accuracy: float, interval: Sequence[float]) -> str:
    """A share in per cent with its interval, as in ``84.7 (83.4-85.6)``."""
    low, high = interval
    return f"{100 * accuracy:.1f} ({100 * low:.1f}-{100 * high:.1f})"
