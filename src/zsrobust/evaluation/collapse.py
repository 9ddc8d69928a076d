"""Whether a classifier has collapsed, from its counts on labelled images alone.

Every rule holds at :data:`LEVEL` for one model on one set, by exact binomial bounds (Clopper and
Pearson, Biometrika 1934), so that few images raise no alarm. Chance is what the same predictions
would score if they had nothing to do with the images (Cohen, "A coefficient of agreement for
nominal scales", 1960): of a constant prediction it is the share of that class, however unbalanced
the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict

LEVEL = 0.001
NEARLY = 0.9
MOST = 0.5
NEAR_CHANCE = 0.05

ONE_CLASS, AT_CHANCE, LOST_MOST = "one class", "at chance", "lost most"


class Predictions(TypedDict):
    """What of the predictions shows a collapse; see :class:`Counted`."""

    chance_acc: float
    top_class: str
    top_predicted: float
    top_labelled: float


class Counted(Protocol):
    """What a classifier did on labelled images.

    Attributes:
        n: images.
        clean_acc: share of them that it has right.
        chance_acc: share that it would have right if its predictions were dealt out at random;
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
        clause: what is wrong, to go on from the model's name.
        figures: its numbers by name, in [0, 1].
    """

    rule: str
    clause: str
    figures: dict[str, float]


def count_predictions(
    labels: Sequence[int], predictions: Sequence[int], names: Sequence[str]
) -> Predictions:
    """The figures of predictions.

    Args:
        labels, predictions: how many of each class, K counts of the same images.
        names: of the K classes.
    """
    n = sum(labels)
    top = max(range(len(names)), key=predictions.__getitem__)
    return {
        "chance_acc": sum(a * b for a, b in zip(labels, predictions, strict=True)) / n**2,
        "top_class": names[top],
        "top_predicted": predictions[top] / n,
        "top_labelled": labels[top] / n,
    }


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
    return _lowest(found, 0.05) <= found.chance_acc


def is_near_chance(found: Counted) -> bool:
    """Whether the accuracy is at chance or less than 5 points above: the set is too hard."""
    return is_at_chance(found) or found.clean_acc - found.chance_acc < NEAR_CHANCE


def is_below(found: Counted, original: Counted, share: float = 1.0) -> bool:
    """Whether surely less than ``share`` is left of what the original has above chance.

    Never where the original is not surely above chance itself.
    """
    had = _lowest(original, LEVEL) - original.chance_acc
    has = _highest(found, LEVEL) - found.chance_acc
    return had > 0 and has < share * had


def collapse(found: Counted, original: Counted | None, images: str) -> list[Problem]:
    """What the rules find wrong: at most two of them speak.

    Args:
        found: of the model.
        original: of what it was made from, on the same images; None where that is not known, and
            then, as of one that is near chance itself, a single class alone is found.
        images: which these are, in words.
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


def _lowest(found: Counted, level: float) -> float:
    """Lower limit of the accuracy's two-sided interval of confidence 1 - ``level``."""
    right = round(found.clean_acc * found.n)
    from scipy.stats import beta

    return float(beta.ppf(level / 2, right, found.n - right + 1)) if right else 0.0


def _highest(found: Counted, level: float) -> float:
    right = round(found.clean_acc * found.n)
    from scipy.stats import beta

    return float(beta.ppf(1 - level / 2, right + 1, found.n - right)) if right < found.n else 1.0
