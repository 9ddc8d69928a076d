import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsrobust.evaluation.statistics import average_interval, seeds_interval, wilson_interval


@settings(deadline=None)  # The first call imports scipy.
@given(st.integers(1, 2000), st.data())
def test_wilson_by_its_formula(n, data):
    correct = data.draw(st.integers(0, n))
    z, p = 1.959963984540054, correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = wilson_interval(correct, n)
    assert low == pytest.approx(max(0.0, middle - half), abs=1e-9)
    assert high == pytest.approx(min(1.0, middle + half), abs=1e-9)


def test_the_interval_of_an_average_has_its_coverage():
    random = np.random.default_rng(0)
    truth, sizes = [0.02, 0.35, 0.6, 0.97], [150, 400, 200, 300]
    interval = cache(wilson_interval)
    covered = 0
    for _ in range(1000):
        counts = [int(random.binomial(n, p)) for n, p in zip(sizes, truth, strict=True)]
        accuracies = [count / n for count, n in zip(counts, sizes, strict=True)]
        intervals = [interval(count, n) for count, n in zip(counts, sizes, strict=True)]
        low, high = average_interval(accuracies, intervals)
        covered += low <= sum(truth) / 4 <= high
    # 950 expected; 3 deviations of a binomial with 1,000 draws are 21.
    assert 929 <= covered <= 985


def test_average_of_one_set_is_that_set():
    assert average_interval([0.3], [(0.2, 0.45)]) == pytest.approx((0.2, 0.45))


def test_nothing_right_still_has_an_interval():
    low, high = average_interval([0.0, 0.0], [wilson_interval(0, 100)] * 2)
    assert low == 0
    assert high == pytest.approx(0.037 / math.sqrt(2), abs=1e-3)


def test_over_seeds_the_wider_interval_counts_on_each_side():
    # Student's 0.975 quantile of two degrees of freedom is 4.3027; the deviation here is 0.1.
    half = 4.3027 * 0.1 / math.sqrt(3)
    narrow = [(value - 0.01, value + 0.01) for value in (0.4, 0.5, 0.6)]
    assert seeds_interval([0.4, 0.5, 0.6], narrow) == pytest.approx(
        (0.5 - half, 0.5 + half), abs=1e-5
    )
    # Seeds that agree are no more certain than their samples.
    assert seeds_interval([0.5, 0.5], [(0.3, 0.6), (0.4, 0.8)]) == pytest.approx((0.35, 0.7))
    assert seeds_interval([0.5], [(0.3, 0.6)]) == pytest.approx((0.3, 0.6))
