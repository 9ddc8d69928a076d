"""The table of a paper in LaTeX: a row a method, clean and robust side by side for every set."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zsrobust.data.published.sets import published_sets
from zsrobust.evaluation.checks.collapse import collapsed_models
from zsrobust.evaluation.checks.diagnostics import synthetic_sets
from zsrobust.evaluation.results import Results
from zsrobust.evaluation.starts import starts
from zsrobust.reporting.figures.series import Place, Point, Series, accuracy_series
from zsrobust.reporting.names import FROM
from zsrobust.reporting.tables import latex

REHEARSAL = "a rehearsal, no results"
"""What tables and figures of synthetic images say of themselves."""
MOST = 12
"""Columns of figures; a table of more is over averages alone."""
WIDE = 6
"""Columns of figures from which on the table spans both columns of a page."""
COLLAPSED = "$^*$"
_WRITTEN = {"autoattack": "AutoAttack", "square": "Square", "noise": "Noise"}


def paper_table(results: Results, label: str = "tab:zsrobust") -> str:
    r"""A ``table`` of package booktabs, a whole file for ``\input``.

    Methods are rows, originals first, several seeds their mean. For every set and average there are
    clean accuracy and accuracy under each attack, in per cent; where that makes more than ``MOST``
    columns, for averages alone. The best fine-tuned method of each column is bold, or the best of
    all where one was fine-tuned or none. Methods that have collapsed, or whose test-time defence
    was not attacked, are never the best.

    Args:
        results: of models that were measured the same way.
        label: for ``\ref``.
    """
    attacks = list(dict.fromkeys(row.condition for row in results.rows))
    found = [accuracy_series(results, attack) for attack in attacks]
    methods = list({one.models: one for _, series in found for one in series}.values())
    methods.sort(key=lambda one: one.method != "original")
    places = _places([place for places, _ in found for place in places], 1 + len(attacks))
    columns = []
    for place in places:
        under = [
            {one.models: one.robust[place.name] for one in series if place.name in one.robust}
            for _, series in found
        ]
        clean = {
            one.models: one.clean[place.name]
            for _, series in found
            for one in series
            if place.name in one.clean
        }
        columns += [[of.get(method.models) for method in methods] for of in (clean, *under)]
    tuned = [method.method != "original" for method in methods]
    collapsed = [not collapsed_models(results).isdisjoint(method.models) for method in methods]
    unattacked = {row.model for row in results.rows if not row.adaptive}
    standing = [
        unattacked.isdisjoint(method.models) and not fallen
        for method, fallen in zip(methods, collapsed, strict=True)
    ]
    among_tuned = [a and b for a, b in zip(tuned, standing, strict=True)]
    several = sum(among_tuned) > 1
    candidates = among_tuned if several else standing
    cells = [_column(column, candidates) for column in columns]
    start = _common_start(results)
    caption = _caption(results, attacks, methods, several, any(collapsed), start)
    rows = [
        f"{latex(_method(method, start))}{COLLAPSED if fallen else ''} & {' & '.join(row)} \\\\"
        for method, fallen, *row in zip(methods, collapsed, *cells, strict=True)
    ]
    if 0 < sum(tuned) < len(rows):
        rows.insert(len(rows) - sum(tuned), r"\midrule")
    environment = "table*" if len(columns) > WIDE else "table"
    each = "r" * (1 + len(attacks))
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{{environment}}}[t]",
        r"\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{len(places) * f' {each}'}}}",
        r"\toprule",
        *_head(results, places, attacks),
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        rf"\end{{{environment}}}",
    ]
    return "\n".join(lines) + "\n"


def _places(found: Sequence[Place], each: int) -> list[Place]:
    """Sets, then averages, once each; averages alone where all are too many."""
    places = sorted({place.name: place for place in found}.values(), key=lambda one: one.average)
    sets = [place for place in places if not place.average]
    if len(sets) == 1:
        return sets
    return places if each * len(places) <= MOST else [place for place in places if place.average]


def _column(points: Sequence[Point | None], candidates: Sequence[bool]) -> list[str]:
    """The cells of a column, the best of ``candidates`` in bold."""
    rounded = [None if point is None else f"{100 * point.accuracy:.1f}" for point in points]
    compared = [
        float(text)
        for text, one in zip(rounded, candidates, strict=True)
        if one and text is not None
    ]
    cells = []
    for text, point, candidate in zip(rounded, points, candidates, strict=True):
        if text is None or point is None:
            cells.append("--")
            continue
        best = candidate and float(text) == max(compared)
        mark = r"$^\ddagger$" if point.sampled else ""
        cells.append((rf"\textbf{{{text}}}" if best else text) + mark)
    return cells


def _head(results: Results, places: Sequence[Place], attacks: Sequence[str]) -> list[str]:
    """A line of sets with rules below, then clean and the attacks for each."""
    each = 1 + len(attacks)
    sets = [latex(_title(results, place)) for place in places]
    spans = [rf"\multicolumn{{{each}}}{{c}}{{{name}}}" for name in sets]
    rules = [
        rf"\cmidrule(lr){{{2 + each * index}-{1 + each * (index + 1)}}}"
        for index in range(len(places))
    ]
    names = ["Clean", "Robust"] if each == 2 else ["Clean", *map(_attack, attacks)]
    return [
        f" & {' & '.join(spans)} \\\\",
        " ".join(rules),
        f"Method & {' & '.join(map(latex, names * len(places)))} \\\\",
    ]


def _title(results: Results, place: Place) -> str:
    if place.average:
        several = any(row.seen for row in results.rows)
        return f"Average ({place.over})" if several else "Average"
    return _set_title(results, place.name)


def _set_title(results: Results, name: str) -> str:
    """A set as its authors write it, a set of one's own with a capital letter."""
    known = published_sets()
    origin = results.protocol.get("data", {}).get(name, {}).get("origin", "")
    one = known.get(origin) or known.get(name)
    if one is not None:
        return one.title.partition(" (")[0]
    plain = re.sub(r"[-_]+", " ", name)
    return plain[:1].upper() + plain[1:]


def _common_start(results: Results) -> str:
    """The fine-tuned model from which every other one was fine-tuned; empty where there is none."""
    models, begun = results.protocol.get("models", {}), starts(results)
    tuned = {row.model for row in results.rows if row.method != "original"}
    names = {models[one]["start"]["name"] for one in begun}
    return names.pop() if len(names) == 1 and tuned == {*begun, *begun.values()} else ""


def _method(method: Series, start: str) -> str:
    """Such as ``PMG-AFT (authors code)``, without the start that the caption names."""
    label = method.label.replace(f"{FROM}{start}", "") if start else method.label
    name = re.sub(r"\[(.*?)\]", lambda found: f" ({found[1].replace('_', ' ')})", label)
    return "Original" if name == "original" else name


def _attack(condition: str) -> str:
    """Such as ``PGD-10 1/255``."""
    name, _, radius = condition.partition(" ")
    if "(" in condition:
        return condition
    upper = re.sub(r"[a-z]+", lambda word: _WRITTEN.get(word[0], word[0].upper()), name)
    return f"{upper} {radius}"


def _caption(
    results: Results,
    attacks: Sequence[str],
    methods: Sequence[Series],
    several: bool,
    collapsed: bool,
    start: str,
) -> str:
    norms = {row.norm for row in results.rows}
    under = ", ".join(map(_attack, attacks))
    lines = [
        "Zero-shot accuracy in per cent on clean images and under attack "
        f"({under}{', L-inf' if norms == {'linf'} else ''})."
    ]
    sets = {row.dataset for row in results.rows}
    counts = sorted({row.n for row in results.rows})
    images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    lines.append(f"{images} images of each set." if len(sets) > 1 else f"{images} images.")
    seen = dict.fromkeys(_set_title(results, row.dataset) for row in results.rows if row.seen)
    if len(sets) > 1:
        lines.append(
            f"Averages are over {len(sets)} sets{', unseen in fine-tuning' if not seen else ''}."
        )
    if seen:
        lines.append(f"Fine-tuned on: {', '.join(seen)}.")
    if start:
        lines.append(f"Methods were fine-tuned from {start}.")
    seeds = {len(method.models) for method in methods if method.method != "original"}
    if seeds == {1}:
        lines.append("One training run per method.")
    elif seeds:
        lines.append(f"Means over {'/'.join(map(str, sorted(seeds)))} seeds.")
    of = "fine-tuned models" if several else "all"
    lines.append(f"Bold: the highest value of {of}, whether or not differences are significant.")
    if collapsed:
        lines.append("*: has collapsed, and is not compared.")
    if any(row.sampling for row in results.rows):
        lines.append("‡: estimated from a part of the samples.")
    if synthetic_sets(results):
        lines.insert(0, f"{REHEARSAL.capitalize()}.")
    if not all(row.adaptive for row in results.rows):
        lines.append("Defences at test time were not attacked.")
    return " ".join(lines)
