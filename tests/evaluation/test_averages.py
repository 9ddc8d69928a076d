"""Means over named sets, in which a group of sets counts once."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from zsrobust.evaluation.averages import Averaged
from zsrobust.evaluation.comparison.differences import (
    Estimated,
    difference_of,
    paired_difference,
)
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.outcomes import Outcomes, table
from zsrobust.evaluation.results import Results, Row, Sampling
from zsrobust.evaluation.statistics import average_interval
from zsrobust.evaluation.two_phase.estimate import Stratum, estimate
from zsrobust.utils.errors import RequestError


def outcomes(both, only_first, only_second, neither):
    """Two models' outcomes on one set with these counts of pairs."""
    counts = (both, only_first, only_second, neither)
    first = np.repeat([True, True, False, False], counts)
    return first, np.repeat([True, False, True, False], counts)


def moments(first, second):
    """The difference on one set, and its variance."""
    pairs = second.astype(float) - first
    return pairs.mean(), pairs.var() / len(pairs)


SETS = [outcomes(900, 150, 190, 760), outcomes(300, 120, 20, 560), outcomes(400, 60, 90, 450)]
"""Of three sets of different sizes."""
FIRST, SECOND = zip(*SETS, strict=True)


def row(dataset, model, clean, robust, n=100, attack="pgd-10"):
    return Row.counted(
        **{"dataset": dataset, "split": "test", "model": model, "method": model, "seen": False},
        **{"resolution": 32, "attack": attack, "norm": "linf", "eps": 1 / 255, "key": ""},
        **{"n": n, "clean": clean, "robust": robust},
    )


def test_the_sets_of_an_entry_share_what_it_counts():
    found = Averaged.of_plain("some", ["a", ["b", "c", "d"], ["e"], ["f", "g"]])
    assert found.sets == list("abcdefg")
    assert found.weights == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2])
    assert Averaged.of_plain("some", found.plain) == found
    part = Averaged.of_plain("some", {"sets": found.plain, "without_classes_of": "x"})
    assert (part.entries, part.without) == (found.entries, "x")
    assert Averaged.of_plain("some", part.plain) == part


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ([], "'some' is over"),
        (None, "'some' is over None"),
        ("a", "'some' is over 'a'"),
        ({"a": 1}, "'some' is over"),
        ({"sets": ["a"]}, "'some' is over"),
        ({"sets": [], "without_classes_of": "b"}, "'some' is over"),
        (["a", []], "none of them empty"),
        (["a", [["b"]]], "lists of sets"),
        (["a", 3], "lists of sets"),
        (["a", "b", "a"], "has a twice"),
        (["a", ["b", "a", "b"]], "has a, b twice"),
    ],
)
def test_what_is_no_list_of_sets_is_refused(plain, words):
    with pytest.raises(RequestError, match=words):
        Averaged.of_plain("some", plain)


def test_an_average_of_results_by_hand():
    counts = {"a": (80, 40), "b": (60, 10), "c": (30, 20), "d": (50, 5)}
    rows = [row(name, "m", *count) for name, count in counts.items()]
    rows += [row(name, "m", *count, attack="cw-10") for name, count in counts.items()]
    (found, other) = Results({}, {}, rows).averages_over(Averaged.of_plain("x", [["b", "c"], "a"]))
    assert (found.over, found.datasets, found.title) == ("x", 2, "average of 2 (x)")
    assert found.clean_acc == pytest.approx((0.8 + (0.6 + 0.3) / 2) / 2)
    assert found.robust_acc == pytest.approx((0.4 + (0.1 + 0.2) / 2) / 2)
    assert (other.attack, other.clean_acc) == ("cw-10", found.clean_acc)
    # Two of Wilson's intervals make that of the group, which is one of two in the average.
    a, b, c = (dict(zip(counts, rows, strict=False))[name] for name in "abc")
    group = average_interval([0.6, 0.3], [b.ci95_clean, c.ci95_clean])
    assert found.ci95_clean == pytest.approx(
        average_interval([0.8, 0.45], [a.ci95_clean, group]), abs=1e-12
    )
    with pytest.raises(RequestError, match=r"no result on nowhere, .*'x'"):
        Results({}, {}, rows).averages_over(Averaged.of_plain("x", ["a", "nowhere"]))


def test_samples_of_another_sets_classes_do_not_count(tmp_path):
    names = {"x": ["Fire_truck", "bee"], "y": ["truck", "honey bee", "beetle", "bee-eater"]}
    random = np.random.default_rng(3)
    rows, tables, right = [], [], {}
    for model in ("m", "k"):
        labels, before, after = random.integers(4, size=(3, 60))
        clean, robust = before == labels, (before == labels) & (after == labels)
        right[model] = labels, clean, robust
        rows.append(row("y", model, int(clean.sum()), int(robust.sum()), n=60))
        ids, zeros = [f"{index:02d}" for index in range(60)], [0.0] * 60
        columns = [
            Outcomes(ids, labels.tolist(), of.tolist(), zeros, zeros, [""] * 60)
            for of in (before, after)
        ]
        tables.append(table(rows[-1], *columns))
    other = Outcomes(["0", "1"], [0, 1], [0, 0], [0.0] * 2, [0.0] * 2, [""] * 2)
    rows.append(row("x", "m", 1, 1, n=2))
    tables.append(table(rows[-1], other, other))
    sampled = Sampling("two-phase", "population", 0, "", 60, {"cw-10": 20})
    rows.append(replace(row("y", "m", 30, 10, n=60, attack="cw-10"), sampling=sampled))
    data = {name: {"class_names": of} for name, of in names.items()}
    run = EvaluatedRun(tmp_path, Results({"data": data}, {}, rows), pa.concat_tables(tables))

    found = run.without_classes_of("x")
    assert [(one.dataset, one.model, one.attack) for one in found.results.rows] == [
        ("y", "m", "pgd-10"),
        ("y", "k", "pgd-10"),
    ]
    for one in found.results.rows:
        labels, clean, robust = right[one.model]
        kept = labels >= 2  # The last two are no classes of x, whatever they begin with.
        assert one.n == kept.sum()
        assert (one.clean_acc, one.robust_acc) == (clean[kept].mean(), robust[kept].mean())
        expected = row("y", one.model, int(clean[kept].sum()), int(robust[kept].sum()), n=one.n)
        assert one == expected
        assert np.array_equal(found.correct(one)[1], robust[kept])
    with pytest.raises(RequestError, match="no result on z"):
        run.without_classes_of("z")


def test_the_interval_of_a_weighted_mean_adds_up_variances():
    accuracies, errors, weights = [0.3, 0.5, 0.8], [0.01, 0.03, 0.02], [1, 0.5, 0.5]
    intervals = [(p - 2 * e, p + 2 * e) for p, e in zip(accuracies, errors, strict=True)]
    mean = 0.5 * 0.3 + 0.25 * 0.5 + 0.25 * 0.8
    half = 2 * math.sqrt(0.5**2 * 0.01**2 + 0.25**2 * 0.03**2 + 0.25**2 * 0.02**2)
    found = average_interval(accuracies, intervals, weights)
    assert found == pytest.approx((mean - half, mean + half))
    plain = average_interval(accuracies, intervals)
    assert average_interval(accuracies, intervals, [0.7] * 3) == pytest.approx(plain)


def test_equal_weights_are_the_plain_mean():
    # By powers of two, so that every sum is the same to the last bit.
    assert paired_difference(FIRST, SECOND, [0.5] * 3) == paired_difference(FIRST, SECOND)
    one = paired_difference(FIRST[:1], SECOND[:1])
    assert paired_difference(FIRST[:1], SECOND[:1], [0.25]) == one


def test_two_copies_of_a_set_have_its_accuracy_counted_once_and_a_variance_of_their_own():
    weights = [0.5, 0.5, 1]
    found = paired_difference(
        [FIRST[0], FIRST[0], FIRST[1]], [SECOND[0], SECOND[0], SECOND[1]], weights
    )
    (copy, its), (other, of_other) = moments(*SETS[0]), moments(*SETS[1])
    assert found.difference == pytest.approx((copy + other) / 2)
    assert found.difference == pytest.approx(paired_difference(FIRST[:2], SECOND[:2]).difference)
    half = 1.96 * math.sqrt(its / 2 + of_other) / 2
    assert found.interval == pytest.approx(
        (found.difference - half, found.difference + half), abs=1e-3
    )


def test_the_weighted_interval_is_that_of_samples_drawn_again():
    weights = np.array([1, 1 / 4, 3 / 4])
    random = np.random.default_rng(5)
    draws = np.zeros(2000)
    for weight, (first, second) in zip(weights, SETS, strict=True):
        pairs = second.astype(float) - first
        again = random.integers(len(pairs), size=(len(draws), len(pairs)))
        draws += weight * pairs[again].mean(axis=1) / weights.sum()
    found = paired_difference(FIRST, SECOND, list(weights))
    assert found.interval == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=2e-3)
    assert abs(found.interval[0] - paired_difference(FIRST, SECOND).interval[0]) > 4e-3


def test_the_weighted_p_is_that_of_every_way_to_disagree():
    parts, weights = [outcomes(40, 3, 14, 43), outcomes(20, 6, 4, 20)], [1, 0.5]
    sizes, disagree = (100, 50), (17, 10)
    observed = abs(11 / 100 + 0.5 * -2 / 50)
    exact = 0.0
    for gained in itertools.product(*(range(d + 1) for d in disagree)):
        each = zip(weights, gained, disagree, sizes, strict=True)
        if abs(sum(w * (2 * k - d) / n for w, k, d, n in each)) >= observed - 1e-12:
            exact += math.prod(
                math.comb(d, k) / 2**d for k, d in zip(gained, disagree, strict=True)
            )
    found = paired_difference(*zip(*parts, strict=True), weights)
    assert found.difference == pytest.approx((11 / 100 + 0.5 * -2 / 50) / 1.5)
    assert found.p == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 10_000))
    assert 0.01 < exact < 0.2


def estimated(seed, n=300, drawn=80):
    """Both models stand the first part on 200 of ``n`` samples, ``drawn`` of them are attacked."""
    falls = np.random.default_rng(seed).random((2, drawn)) < [[0.3], [0.5]]
    strata = [Stratum((True, True), 200, (drawn,), np.where(falls, 0, 1))]
    found = [estimate(strata, n, target) for target in ((None, 0), (None, 1), (0, 1))]
    return Estimated(n, *found, population=True)


def test_estimates_are_weighted_as_outcomes_are():
    one, two = estimated(0), estimated(1)
    values = [[of.value for of in (each.first, each.second)] for each in (one, two)]
    found = difference_of([one, two], [1, 0.25])
    for index, value in enumerate((found.first, found.second)):
        assert value == pytest.approx(0.8 * values[0][index] + 0.2 * values[1][index])
    (below, above), (less, more) = one.distances(0.95), two.distances(0.95)
    assert found.interval == pytest.approx(
        (
            found.difference - math.hypot(0.8 * below, 0.2 * less),
            found.difference + math.hypot(0.8 * above, 0.2 * more),
        )
    )
    # At the level 1 - p the interval ends at zero.
    less, more = (each.distances(1 - found.p)[1] for each in (one, two))
    assert found.difference + math.hypot(0.8 * less, 0.2 * more) == pytest.approx(0, abs=1e-4)

    # Beside a set whose samples were all attacked.
    mixed = difference_of([SETS[0], one], [0.5, 0.5])
    assert mixed == difference_of([SETS[0], one])
    difference = (moments(*SETS[0])[0] + 3 * (values[0][1] - values[0][0])) / 4
    assert difference_of([SETS[0], one], [1, 3]).difference == pytest.approx(difference)
