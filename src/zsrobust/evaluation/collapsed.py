"""Has a model collapsed, and on which sets is it at chance as its original is?"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from zsrobust.evaluation.collapse import (
    AT_CHANCE,
    LOST_MOST,
    ONE_CLASS,
    Problem,
    collapse,
    is_near_chance,
    is_one_class,
)
from zsrobust.evaluation.findings import Finding
from zsrobust.evaluation.results import Results, Row
from zsrobust.evaluation.row_groups import passed

_AGAIN = "fine-tune again at a lower optimizer.lr"
_EXPLANATIONS = {
    ONE_CLASS: "Clean or attacked, its accuracy is about the share of that class and says nothing "
    f"of robustness. If this model was fine-tuned, {_AGAIN}.",
    AT_CHANCE: "What it has right under attack are lucky guesses, which say nothing of "
    f"robustness: {_AGAIN}.",
    LOST_MOST: "Under attack it cannot have more right than without one. For a model that does, "
    f"{_AGAIN} or a smaller attack.eps.",
}
_NO_ALARM = (
    "Nothing was lost where there was nothing: leave such a set out, or evaluate on more images."
)


def has_not_collapsed(results: Results) -> list[Finding]:
    """No model predicts a single class, is at chance where its original is not, or lost most.

    One failed finding a model and rule, over all its sets. Where a fine-tuned model is at chance
    or near it as its original is, or has none beside it, a passed finding says so.
    """
    wrong = [
        Finding(
            "has not collapsed",
            False,
            _sentence(model, problems),
            {
                f"{key} on {dataset}": value
                for dataset, problem in problems.items()
                for key, value in problem.figures.items()
            },
            _EXPLANATIONS[rule],
        )
        for (model, rule), problems in _problems(results).items()
    ]
    tuned = {row.model for row in results.rows if row.method != "original"}
    hard = [
        Finding("has not collapsed", True, note, {}, _NO_ALARM)
        for note in chance_notes(results, tuned)
    ]
    compared = sum(original is not None for _, original in _cases(results))
    return [*wrong, *hard] or passed(
        "has not collapsed", compared, "no model has lost what its original had"
    )


def collapse_warnings(results: Results, models: Collection[str] | None = None) -> list[str]:
    """A sentence for each of ``models``, or all, and each rule that finds it collapsed."""
    return [
        _sentence(model, problems) for (model, _), problems in _problems(results, models).items()
    ]


def chance_notes(results: Results, models: Collection[str]) -> list[str]:
    """A sentence for each of ``models`` that is near chance on some sets, but has not collapsed."""
    places: dict[str, list[str]] = {}
    for row, original in _cases(results):
        if row.model not in models or not is_near_chance(row) or _found(row, original):
            continue
        place = f"{row.dataset} (n {row.n}, clean {row.clean_acc:.1%}, chance {row.chance_acc:.1%}"
        if original is not None:
            also = "as is its original" if is_near_chance(original) else "its original"
            place += f"; {also}, {original.clean_acc:.1%}"
        places.setdefault(row.model, []).append(f"{place})")
    return [
        f"{model} is at chance or near it on {', '.join(on)}: robust accuracy there says nothing"
        for model, on in places.items()
    ]


def _sentence(model: str, problems: dict[str, Problem]) -> str:
    return f"{model} {'; it '.join(problem.clause for problem in problems.values())}"


def _problems(
    results: Results, models: Collection[str] | None = None
) -> dict[tuple[str, str], dict[str, Problem]]:
    """What is wrong with each of ``models``, or all, by each rule, by the name of the set."""
    problems: dict[tuple[str, str], dict[str, Problem]] = {}
    for row, original in _cases(results):
        wanted = models is None or row.model in models
        for problem in _found(row, original) if wanted else ():
            problems.setdefault((row.model, problem.rule), {})[row.dataset] = problem
    return problems


def _found(row: Row, original: Row | None) -> list[Problem]:
    """What is wrong; of a single class that its original predicts as well, the original is."""
    as_before = original is not None and is_one_class(original)
    return [
        problem
        for problem in collapse(row, original, row.dataset)
        if not (as_before and problem.rule == ONE_CLASS)
    ]


def _cases(results: Results) -> Iterator[tuple[Row, Row | None]]:
    """A row of each model on each set, whose predictions were counted, and its original's."""
    models, data = results.protocol.get("models", {}), results.protocol.get("data", {})
    rows: dict[tuple[str, str, str], Row] = {}
    for row in results.rows:
        if not math.isnan(row.chance_acc):
            rows.setdefault((row.model, row.dataset, row.split), row)

    def seen_alike(row: Row) -> tuple[object, ...]:
        """What a model and its original share: weights aside, all that decides a prediction."""
        about = models.get(row.model, {})
        under = data.get(row.dataset, {}).get(f"under {row.model}")
        place = (row.dataset, row.split, row.n, row.resolution)
        return (*place, about.get("source"), str(about.get("preprocessing")), str(under))

    originals = {seen_alike(row): row for row in rows.values() if row.method == "original"}
    for row in rows.values():
        yield row, None if row.method == "original" else originals.get(seen_alike(row))
