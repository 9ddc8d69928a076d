from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from zsrobust.evaluation.checks.collapse import (
    collapse,
    is_at_chance,
    is_below,
    is_one_class,
)
from zsrobust.evaluation.statistics import count_predictions

LEVEL = 0.001


@dataclass(frozen=True)
class Counts:
    n: int
    right: int
    chance_acc: float = 0.1
    top_class: str = "one"
    top_predicted: float = 0.15
    top_labelled: float = 0.1

    @property
    def clean_acc(self):
        return self.right / self.n


def constant(n, share):
    """One class for all of n images, of which ``share`` are of that class."""
    return Counts(n, round(share * n), share, "one", 1.0, share)


def rules(found, original=None):
    return [problem.rule for problem in collapse(found, original, "birds")]


def test_the_figures_of_predictions():
    found = count_predictions([6, 3, 1], [2, 8, 0], ["cat", "dog", "owl"])
    assert found == {
        "chance_acc": pytest.approx((6 * 2 + 3 * 8) / 100),
        "top_class": "dog",
        "top_predicted": 0.8,
        "top_labelled": 0.3,
    }


def test_chance_is_what_shuffled_predictions_have():
    random = np.random.default_rng(0)
    labels, predictions = random.choice(3, 400, p=[0.7, 0.2, 0.1]), random.integers(3, size=400)
    counts = [np.bincount(found, minlength=3).tolist() for found in (labels, predictions)]
    shuffled = [np.mean(labels == random.permutation(predictions)) for _ in range(2000)]
    found = count_predictions(*counts, ["a", "b", "c"])["chance_acc"]
    assert np.mean(shuffled) == pytest.approx(found, abs=4 * np.std(shuffled) / 2000**0.5)


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5, 0.9])
def test_a_constant_prediction_is_found_as_soon_as_it_is_no_accident(share):
    """Of a model that is half as constant, n of n predictions are of one class by p to the n."""
    half_way = (1 + share) / 2
    enough = int(np.ceil(np.log(LEVEL) / np.log(half_way)))
    assert not is_one_class(constant(enough - 1, share))
    for n in (enough, 10 * enough, 1000 * enough):
        assert is_one_class(constant(n, share))


def test_a_set_of_one_class_is_predicted_as_one():
    for n in (5, 1000):
        assert not is_one_class(constant(n, 1.0))


@pytest.mark.parametrize(("predicted", "found"), [(0.85, False), (0.9, False), (0.92, True)])
def test_nearly_one_class(predicted, found):
    assert is_one_class(Counts(5000, 500, top_predicted=predicted)) == found


@pytest.mark.parametrize("n", [3, 10, 25, 100])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_half_way_to_a_constant_prediction_hardly_ever_raises_an_alarm(n, share):
    p = (1 + share) / 2
    alarms = [
        is_one_class(Counts(n, 0, top_predicted=k / n, top_labelled=share)) for k in range(n + 1)
    ]
    assert binom.pmf(range(n + 1), n, p) @ np.array(alarms) < LEVEL


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.5])
def test_false_alarms_at_half_the_accuracy_are_rare(chance):
    """The exact rate over all pairs of counts, at the edge of what is allowed."""
    n = 20
    for had in (0.2, 0.95):
        before = chance + had * (1 - chance)
        now = chance + had / 2 * (1 - chance)
        alarms = [
            [is_below(Counts(n, k, chance), Counts(n, m, chance), 0.5) for m in range(n + 1)]
            for k in range(n + 1)
        ]
        rate = binom.pmf(range(n + 1), n, now) @ alarms @ binom.pmf(range(n + 1), n, before)
        assert rate < LEVEL


@pytest.mark.parametrize("chance", [0.001, 0.3, 0.9])
def test_a_model_like_its_original_raises_no_alarm(chance):
    for n in (1, 7, 40):
        for right in range(n + 1):
            same = Counts(n, right, chance)
            assert rules(same, same) == []


@pytest.mark.parametrize(
    ("right", "before", "rule"),
    [
        (20, 190, ["at chance"]),
        (25, 190, ["at chance"]),
        (0, 190, ["at chance"]),  # worse than chance
        (60, 190, ["lost most"]),
        (110, 190, []),  # 0.45 above chance of 0.85: more than half
        (20, 60, ["at chance"]),
        (20, 30, []),  # 15 % was hardly above chance
        (4, 22, []),
        (2, 29, []),  # 14.5 %: too hard for the original
    ],
)
def test_what_of_200_images_of_ten_classes_is_left(right, before, rule):
    assert rules(Counts(200, right), Counts(200, before)) == rule


def test_the_bounds_are_those_of_clopper_and_pearson():
    n, before = 300, 210
    low = binomtest(before, n).proportion_ci(1 - LEVEL, "exact").low - 0.1
    for right in (0, 1, 60, 65, 70, 75, 80, 150, n):
        high = binomtest(right, n).proportion_ci(1 - LEVEL, "exact").high - 0.1
        assert is_below(Counts(n, right), Counts(n, before), 0.5) == (high < low / 2)


def test_a_set_that_is_too_hard_for_the_original_raises_no_alarm():
    """However surely 3 % of ten thousand images are above a chance of 1 %."""
    assert rules(Counts(10_000, 100, 0.01), Counts(10_000, 300, 0.01)) == []
    assert rules(Counts(10_000, 100, 0.01), Counts(10_000, 700, 0.01)) == ["at chance"]


def test_few_images_tell_little():
    assert rules(Counts(5, 0), Counts(5, 5)) == []
    assert rules(constant(5, 0.2), Counts(5, 5)) == []


def test_one_class_and_chance_of_an_unbalanced_set():
    before = Counts(1000, 950, 0.75)
    now = constant(1000, 0.85)
    assert is_at_chance(now)
    assert rules(now, before) == ["one class", "at chance"]
    first, second = (problem.clause for problem in collapse(now, before, "birds"))
    for expected in ("'one'", "100.0%", "85.0%", "n 1000", "birds"):
        assert expected in first
    for expected in ("95.0%", "85.0%", "birds"):
        assert expected in second


def test_what_was_not_counted_is_not_judged():
    unknown = Counts(200, 20, float("nan"), "", float("nan"), float("nan"))
    assert rules(unknown) == []
    assert rules(unknown, Counts(200, 190)) == []
    assert rules(Counts(200, 20), unknown) == []
