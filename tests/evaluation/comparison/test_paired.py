import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsrobust.evaluation.comparison.differences import holm, paired_difference
from zsrobust.evaluation.statistics import t_interval


def outcomes(both, only_first, only_second, neither):
    """Two models' outcomes on one set with these counts of pairs."""
    counts = (both, only_first, only_second, neither)
    first = np.repeat([True, True, False, False], counts)
    return first, np.repeat([True, False, True, False], counts)


@given(st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_mcnemars_p_is_twice_the_binomial_tail(lost, gained):
    first, second = outcomes(30, lost, gained, 20)
    d, k = lost + gained, max(lost, gained)
    tail = sum(math.comb(d, i) for i in range(k, d + 1)) / 2**d
    found = paired_difference([first], [second])
    assert found.p == pytest.approx(min(1.0, 2 * tail))
    assert found.difference == pytest.approx((gained - lost) / len(first))


def test_the_interval_is_walds_where_samples_are_many():
    first, second = outcomes(5000, 700, 900, 3400)
    n, d = 10_000, 0.02
    half = 1.96 * math.sqrt((0.16 - d * d) / n)
    low, high = paired_difference([first], [second]).interval
    assert (low, high) == pytest.approx((d - half, d + half), abs=4e-4)


def test_the_interval_of_an_average_is_that_of_independent_sets():
    first, second = zip(outcomes(500, 70, 90, 340), outcomes(100, 50, 10, 240), strict=True)
    differences, variances = [0.02, -0.1], [(0.16 - 0.02**2) / 1000, (0.15 - 0.1**2) / 400]
    half = 1.96 * math.sqrt(sum(variances)) / 2
    found = paired_difference(first, second)
    assert found.difference == pytest.approx(sum(differences) / 2)
    assert found.interval == pytest.approx((-0.04 - half, -0.04 + half), abs=2e-3)


@pytest.mark.slow
def test_the_interval_of_a_difference_has_its_coverage():
    random = np.random.default_rng(1)
    truth = [(0.3, 0.05, 0.12, 0.53), (0.0, 0.01, 0.1, 0.89)]
    difference = sum(t[2] - t[1] for t in truth) / 2
    covered = 0
    for _ in range(200):
        pairs = [
            outcomes(*random.multinomial(n, t)) for n, t in zip((200, 150), truth, strict=True)
        ]
        first, second = zip(*pairs, strict=True)
        low, high = paired_difference(first, second).interval
        covered += low <= difference <= high
    # 190 expected; 3 deviations of a binomial with 200 draws are 9.
    assert covered >= 181


@pytest.mark.slow
def test_the_false_positive_rate_on_equal_models():
    random = np.random.default_rng(2)
    below = 0
    for _ in range(120):
        pairs = [outcomes(*random.multinomial(n, (0.3, 0.1, 0.1, 0.5))) for n in (200, 80, 150)]
        first, second = zip(*pairs, strict=True)
        below += paired_difference(first, second).p < 0.05
    # 6 expected; 3 deviations of a binomial with 120 draws are 7.
    assert 1 <= below <= 13


def test_the_simulated_p_of_an_average_is_the_exact_one():
    """Two sets of equal size: their difference is one difference of all disagreements."""
    parts = [outcomes(40, 9, 16, 35), outcomes(50, 5, 12, 33)]
    first, second = zip(*parts, strict=True)
    exact = paired_difference([np.concatenate(first)], [np.concatenate(second)]).p
    simulated = paired_difference(first, second).p
    assert simulated == pytest.approx(exact, abs=3 * math.sqrt(exact * (1 - exact) / 10_000))


def test_models_that_never_disagree_have_an_interval_and_no_difference():
    nothing = np.zeros(200, bool)
    found = paired_difference([nothing], [nothing])
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.interval[0] < 0 < found.interval[1]
    assert found.interval[1] < 0.02


def test_swapped_models_differ_by_the_sign():
    first, second = outcomes(500, 70, 120, 310)
    there, back = paired_difference([first], [second]), paired_difference([second], [first])
    assert back.difference == -there.difference
    assert back.p == there.p
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]), abs=3e-3)


def test_the_same_outcomes_give_the_same_numbers():
    first, second = outcomes(50, 7, 12, 31)
    assert paired_difference([first], [second]) == paired_difference([first], [second])


def test_holm_by_its_example():
    # Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 raised to the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_none_and_bonferroni(p_values):
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p) + 1e-12


def test_t_interval_of_three_seeds_by_the_tables():
    # 4.303 is the two-sided 5 % point of Student's t with 2 degrees of freedom.
    half = 4.3027 * 0.02 / math.sqrt(3)
    assert t_interval([0.3, 0.32, 0.34]) == pytest.approx((0.32 - half, 0.32 + half), abs=1e-5)
    assert all(map(math.isnan, t_interval([0.3])))
