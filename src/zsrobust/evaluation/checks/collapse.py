"""Whether a classifier has collapsed, from its counts on labelled images alone.

Every rule holds at :data:`LEVEL` for one model on one set, by exact binomial bounds (Clopper and
Pearson, Biometrika 1934), so that few images raise no alarm. Chance is what the same predictions
would score if they had nothing to do with the images (Cohen, "A coefficient of agreement for
nominal scales", 1960): of a constant prediction it is the share of that class, however unbalanced
the set.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from zsrobust.evaluation.checks.row_groups import passed
from zsrobust.evaluation.results import Finding, Results, Row
from zsrobust.evaluation.statistics import Interval

LEVEL = 0.001
NEARLY = 0.9
MOST = 0.5
NEAR_CHANCE = 0.05

ONE_CLASS, AT_CHANCE, LOST_MOST = "one class", "at chance", "lost most"


class Counted(Protocol):
    """What a classifier did on labelled images.

    Attributes:
        n: images.
        clean_acc: share of them that it has right.
        chance_acc: share that it would have right if its predictions were shuffled at random;
            nan where predictions were not counted, and then nothing is found.
        top_class: the class that it predicts most often.
        top_predicted, top_labelled: share of the predictions, and of the labels, that are of it.
    """

    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def clean_acc(self) -> float: ...  # noqa: D102
    @property
    def chance_acc(self) -> float: ...  # noqa: D102
    @property
    def top_class(self) -> str: ...  # noqa: D102
    @property
    def top_predicted(self) -> float: ...  # noqa: D102
    @property
    def top_labelled(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Problem:
    """What one rule found.

    Attributes:
        rule: :data:`ONE_CLASS`, :data:`AT_CHANCE` or :data:`LOST_MOST`.
        clause: what is wrong, to follow the model's name in a sentence.
        figures: its numbers by name, in [0, 1].
    """

    rule: str
    clause: str
    figures: dict[str, float]


def is_one_class(found: Counted) -> bool:
    """Whether it predicts a single class, or nearly.

    So it does where the share of the most frequent prediction has gone 90 % of the way from that
    class's share of the labels to 1, and surely more than half of it.
    """
    room = 1 - found.top_labelled
    nearly = found.top_predicted - found.top_labelled >= NEARLY * room
    count = round(found.top_predicted * found.n) if nearly else 0
    from scipy.stats import binom

    return nearly and bool(binom.sf(count - 1, found.n, 1 - room / 2) < LEVEL)


def is_at_chance(found: Counted) -> bool:
    """Whether the 95 % interval of the accuracy does not lie above chance."""
    return _interval(found, 0.05)[0] <= found.chance_acc


def is_near_chance(found: Counted) -> bool:
    """Whether the accuracy is at chance or less than 5 points above: the set is too hard."""
    return is_at_chance(found) or found.clean_acc - found.chance_acc < NEAR_CHANCE


def is_below(found: Counted, original: Counted, share: float = 1.0) -> bool:
    """Whether surely less than ``share`` is left of what the original has above chance.

    Never where the original is not surely above chance itself.
    """
    had = _interval(original, LEVEL)[0] - original.chance_acc
    has = _interval(found, LEVEL)[1] - found.chance_acc
    return had > 0 and has < share * had


def collapse(found: Counted, original: Counted | None, images: str) -> list[Problem]:
    """What the rules find wrong: at most two of them speak.

    Args:
        found: of the model.
        original: of what it was made from, on the same images; None where that is not known, and
            then, as of one that is near chance itself, a single class alone is found.
        images: what they are called in messages.
    """
    problems = []
    if is_one_class(found):
        problems.append(
            Problem(
                ONE_CLASS,
                f"predicts '{found.top_class}' for {found.top_predicted:.1%} of {images} "
                f"(n {found.n}), where {found.top_labelled:.1%} are of that class",
                {"predicted": found.top_predicted, "labelled": found.top_labelled},
            )
        )
    if original is None or is_near_chance(original):
        return problems
    now = f"clean {found.clean_acc:.1%} (n {found.n}, chance {found.chance_acc:.1%})"
    before = f"its original has {original.clean_acc:.1%}"
    figures = {
        "clean": found.clean_acc,
        "chance": found.chance_acc,
        "original": original.clean_acc,
    }
    if is_at_chance(found) and is_below(found, original):
        clause = f"is at chance on {images}: {now}, where {before}"
        problems.append(Problem(AT_CHANCE, clause, figures))
    elif is_below(found, original, MOST):
        clause = f"has lost most of its accuracy on {images}: {now}, where {before}"
        problems.append(Problem(LOST_MOST, clause, figures))
    return problems


def _interval(found: Counted, level: float) -> Interval:
    """Clopper and Pearson's two-sided interval of the accuracy, of confidence 1 - ``level``."""
    # binomtest(...).proportion_ci finds the same limits by root finding, a hundred times slower.
    from scipy.stats import beta

    right = round(found.clean_acc * found.n)
    wrong = found.n - right
    low = float(beta.ppf(level / 2, right, wrong + 1)) if right else 0.0
    high = float(beta.ppf(1 - level / 2, right + 1, wrong)) if wrong else 1.0
    return low, high


_AGAIN = "fine-tune again at a lower optimizer.lr"
_EXPLANATIONS = {
    ONE_CLASS: "Clean or attacked, its accuracy is about the share of that class and says nothing "
    "of robustness{again}.",
    AT_CHANCE: "What it has right under attack are lucky guesses, which say nothing of "
    f"robustness: {_AGAIN}.",
    LOST_MOST: "Under attack it cannot have more right than without one. For a model that does, "
    f"{_AGAIN} or a smaller attack.eps.",
}


def _explanation(rule: str, tuned: bool) -> str:
    """Of the rules, the one on a single class alone also finds models that no one fine-tuned."""
    again = f": {_AGAIN}" if tuned else ""
    return _EXPLANATIONS[rule].replace("{again}", again)


_NO_ALARM = (
    "Nothing was lost where there was nothing: leave such a set out, or evaluate on more images."
)


def has_not_collapsed(results: Results) -> list[Finding]:
    """No model predicts a single class, is at chance where its original is not, or lost most.

    One failed finding a model and rule, over all its sets. Where a fine-tuned model is at chance
    or near it as its original is, or has none to compare with, a passed finding says so.
    """
    tuned = {row.model for row in results.rows if row.method != "original"}
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
            _explanation(rule, model in tuned),
        )
        for (model, rule), problems in _problems(results).items()
    ]
    hard = [
        Finding("has not collapsed", True, note, {}, _NO_ALARM)
        for note in chance_notes(results, tuned)
    ]
    compared = sum(original is not None for _, original in _cases(results))
    return [*wrong, *hard] or passed(
        "has not collapsed", compared, "no model has collapsed compared with its original"
    )


def collapse_warnings(results: Results, models: Collection[str] | None = None) -> list[str]:
    """A sentence for each of ``models``, or all, and each rule that finds it collapsed."""
    return [
        _sentence(model, problems) for (model, _), problems in _problems(results, models).items()
    ]


def collapsed_on(results: Results) -> dict[str, set[str]]:
    """The data sets on which each model has collapsed; only models that have."""
    found: dict[str, set[str]] = {}
    for (model, _), problems in _problems(results).items():
        found.setdefault(model, set()).update(problems)
    return found


def collapsed_models(results: Results) -> set[str]:
    """The models that have collapsed on more than half of their data sets: none is the best."""
    return {
        model
        for model, on in collapsed_on(results).items()
        if 2 * len(on) > len({row.dataset for row in results.rows if row.model == model})
    }


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

    def inputs(row: Row) -> tuple[object, ...]:
        """What a model and its original share: weights aside, all that decides a prediction."""
        about = models.get(row.model, {})
        settings = data.get(row.dataset, {}).get(f"under {row.model}")
        place = (row.dataset, row.split, row.n, row.resolution)
        return (*place, about.get("source"), str(about.get("preprocessing")), str(settings))

    originals = {inputs(row): row for row in rows.values() if row.method == "original"}
    for row in rows.values():
        yield row, None if row.method == "original" else originals.get(inputs(row))
