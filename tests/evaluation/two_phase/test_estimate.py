from itertools import permutations
from math import hypot, isclose, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from zsrobust.evaluation.two_phase.estimate import Stratum, estimate, exact_limits

STANDS = 2
"""Of two later parts: fell to neither."""


def stratum(fell_at, tested, stands=None):
    """Rows of models by columns of samples, in the order in which they are drawn."""
    size = len(fell_at[0])
    fell_at = np.array(fell_at)[:, : tested[0]].copy()
    for part, size_of_part in enumerate(tested):
        late = fell_at[:, size_of_part:]
        late[late == part] = len(tested)
    return Stratum(stands or (True,) * len(fell_at), size, tested, fell_at)


@pytest.mark.parametrize(("x", "n"), [(0, 12), (3, 20), (19, 20), (7, 7)])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_limits_of_whole_counts_are_those_of_the_exact_test(x, n, level):
    low, high = exact_limits(np.array([float(x)]), np.array([n]), level)
    expected = binomtest(x, n).proportion_ci(level, method="exact")
    assert isclose(low[0], expected.low, abs_tol=1e-9)
    assert isclose(high[0], expected.high, abs_tol=1e-9)


def test_an_estimate_by_hand():
    # Of 10 images 8 stand the first part: 6 in a stratum, 4 of which are drawn for the first later
    # part, where 1 falls, and 2 of them for the second, where 1 falls.
    fell_at = [[1, STANDS, 0, STANDS, STANDS, STANDS]]
    strata = [stratum(fell_at, (4, 2)), stratum([[STANDS, STANDS]], (2, 2))]
    found = estimate(strata, 10, (None, 0))
    assert isclose(found.value, (8 - 6 * (1 / 4 + 1 / 2)) / 10)
    # Of these images: one of six fell to each part for certain, and all that were not drawn may.
    assert found.bounds == (pytest.approx((1 + 2) / 10), pytest.approx((8 - 2) / 10))
    # The two phases are binomials of 1 in 4 and 1 in 2, corrected for what is left of the six.
    down = [0.6 * (beta.ppf(0.975, 2, n - 1) - 1 / n) * sqrt(1 - n / 6) for n in (4, 2)]
    up = [0.6 * (1 / n - beta.ppf(0.025, 1, n)) * sqrt(1 - n / 6) for n in (4, 2)]
    # Down to what is certain at the most.
    below, above = found.distances(population=False)
    assert isclose(below, min(hypot(*down), found.value - 0.3))
    assert isclose(above, min(hypot(*up), 0.6 - found.value))
    x = found.value * 10
    low, high = beta.ppf(0.025, x, 11 - x), beta.ppf(0.975, x + 1, 10 - x)
    below, above = found.distances(population=True)
    assert isclose(below, min(hypot(*down, found.value - low), found.value))
    assert isclose(above, hypot(*up, high - found.value))


def test_over_all_draws_the_mean_is_the_truth():
    outcomes = [[0, 1, STANDS, STANDS, 1, STANDS], [0, STANDS, 0, STANDS, STANDS, STANDS]]
    accuracies, differences = [], []
    for order in permutations(range(6)):
        # With one size: with two, an estimate beyond what is certain is set back.
        strata = [stratum(np.array(outcomes)[:, order], (4, 4))]
        accuracies.append(estimate(strata, 12, (None, 0)).value)
        differences.append(estimate(strata, 12, (0, 1)).value)
    assert isclose(np.mean(accuracies), 3 / 12)
    assert isclose(np.mean(differences), (4 - 3) / 12, abs_tol=1e-12)


@pytest.mark.parametrize("standing", [0, 1, 37, 60])
def test_where_all_are_attacked_it_is_a_count(standing):
    n = 60
    fell_at = [[STANDS] * standing + [1] * (n - standing)]
    found = estimate([stratum(fell_at, (n, n))], n, (None, 0))
    assert isclose(found.value, standing / n)
    assert found.distances(population=False) == (0, 0)
    below, above = found.distances(population=True)
    expected = binomtest(standing, n).proportion_ci(0.95, method="exact")
    assert isclose(found.value - below, expected.low, abs_tol=1e-9)
    assert isclose(found.value + above, expected.high, abs_tol=1e-9)


def test_no_model_stands_anywhere():
    found = estimate([], 50, (None, 0))
    assert found.value == 0
    assert found.distances(population=False) == (0, 0)
    below, above = found.distances(population=True)
    assert below == 0
    assert isclose(above, 1 - 0.025 ** (1 / 50))


@st.composite
def sampled_sets(draw):
    """Strata of two models on one data set, and its number of images."""
    strata = []
    for stands in [(True, False), (False, True), (True, True)]:
        size = draw(st.integers(0, 12))
        if not size:
            continue
        first = draw(st.integers(1, size))
        second = draw(st.integers(1, first))
        fell_at = draw(
            st.lists(
                st.lists(st.integers(0, STANDS), min_size=size, max_size=size),
                min_size=2,
                max_size=2,
            )
        )
        strata.append(stratum(fell_at, (first, second), stands))
    n = sum(s.size for s in strata) + draw(st.integers(1, 10))
    return strata, n


@given(sampled_sets(), st.sampled_from([0.3, 0.95, 0.999]))
@settings(deadline=None)
def test_limits_hold_the_estimate_and_stay_where_they_can_be(sets, level):
    strata, n = sets
    for target, least in (((None, 0), 0), ((None, 1), 0), ((0, 1), -1)):
        found = estimate(strata, n, target)
        for population in (False, True):
            below, above = found.distances(population, level)
            assert below >= 0
            assert above >= 0
            assert least - 1e-9 <= found.value - below
            assert found.value + above <= 1 + 1e-9
        below, above = found.distances(False, level)
        assert found.value - below >= found.bounds[0] - 1e-9
        assert found.value + above <= found.bounds[1] + 1e-9


@given(sampled_sets())
@settings(deadline=None)
def test_a_difference_is_the_other_way_round_for_the_other_model(sets):
    strata, n = sets
    there, back = estimate(strata, n, (0, 1)), estimate(strata, n, (1, 0))
    assert isclose(there.value, -back.value, abs_tol=1e-12)
    for population in (False, True):
        below, above = there.distances(population)
        assert (above, below) == pytest.approx(back.distances(population))


@given(sampled_sets())
@settings(deadline=None)
def test_more_confidence_never_gives_a_narrower_interval(sets):
    strata, n = sets
    for target in ((None, 0), (0, 1)):
        found = estimate(strata, n, target)
        for population in (False, True):
            widths = [found.distances(population, level) for level in (0.2, 0.8, 0.99)]
            assert np.all(np.diff(widths, axis=0) >= -1e-9)
