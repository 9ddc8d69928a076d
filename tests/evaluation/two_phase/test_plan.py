import numpy as np
import pytest

from zsrobust.evaluation.two_phase.estimate import Stratum
from zsrobust.evaluation.two_phase.plan import (
    UNREACHABLE,
    SampledSet,
    make_plan,
    pilot_size,
)

ACCURACY = [(None, 0)]


def piloted(size, rates, pilot=None):
    """A stratum whose pilot fell at exactly these rates, one a later part."""
    pilot = pilot or pilot_size(size)
    fell_at = np.full((1, pilot), len(rates))
    start = 0
    for part, rate in enumerate(rates):
        count = round(rate * pilot)
        fell_at[0, start : start + count] = part
        start += count
    return Stratum((True,), size, (pilot,) * len(rates), fell_at)


def sets(*strata, n=20_000):
    return [SampledSet(n, strata)]


def test_a_pilot_has_twenty_or_a_twentieth_or_all():
    assert [pilot_size(size) for size in (1, 19, 20, 21, 400, 401, 4000)] == [
        *(1, 19, 20, 20, 20, 21, 200)
    ]


def test_sizes_are_as_weight_times_deviation():
    # A pilot of 200 hardly moves towards the mean of all strata.
    strata = [piloted(4000, [0.5], 200), piloted(8000, [0.05], 200)]
    plan = make_plan(sets(*strata), [[100.0]], ACCURACY, 0.01, population=False)
    first, second = plan.tested[:, 0]
    expected = 4000 * (0.5 * 0.5) ** 0.5 / (8000 * (0.05 * 0.95) ** 0.5)
    assert first / second == pytest.approx(expected, rel=0.05)
    assert plan.half_width == pytest.approx(0.01, rel=0.01)


def test_a_part_that_costs_more_and_fells_less_takes_fewer():
    stratum = piloted(10_000, [0.3, 0.03], 500)
    plan = make_plan(sets(stratum), [[100.0, 1600.0]], ACCURACY, 0.006, population=False)
    first, second = plan.tested[0]
    # Of the second part 70 % are left, which its price counts.
    deviations = (0.3 * 0.7) ** 0.5, (0.03 * 0.97) ** 0.5
    expected = deviations[0] / deviations[1] * (1600 * 0.7 / 100) ** 0.5
    assert first / second == pytest.approx(expected, rel=0.05)


def test_a_cheap_last_part_runs_with_the_one_before_it():
    stratum = piloted(10_000, [0.02, 0.3], 500)
    plan = make_plan(sets(stratum), [[1000.0, 1.0]], ACCURACY, 0.01)
    assert plan.tested[0, 0] == plan.tested[0, 1]


@pytest.mark.parametrize("asked", [0.004, 0.01, 0.03, 0.2])
def test_sizes_are_between_the_pilot_s_and_all_and_never_grow(asked):
    strata = [piloted(2000, [0.1, 0.0, 0.05]), piloted(30, [0.5, 0.2, 0.0]), piloted(7, [0, 0, 0])]
    plan = make_plan(sets(*strata, n=6000), [[1.0, 9.0, 5.0]], ACCURACY, asked)
    for stratum, sizes in zip(strata, plan.tested, strict=True):
        assert stratum.tested[0] <= sizes[-1]
        assert sizes[0] <= stratum.size
        assert list(sizes) == sorted(sizes, reverse=True)
    assert plan.passes <= plan.all_passes


def test_what_is_asked_for_is_expected_for_as_little_as_any_division():
    strata, cost = [piloted(3000, [0.08, 0.02, 0.01])], [[20.0, 30.0, 50.0]]
    plan = make_plan(sets(*strata, n=6000), cost, ACCURACY, 0.02)
    assert plan.half_width <= 0.02
    together = make_plan(sets(piloted(3000, [0.11]), n=6000), [[100.0]], ACCURACY, 0.02)
    assert plan.passes < together.passes
    narrower = make_plan(sets(*strata, n=6000), cost, ACCURACY, 0.017)
    assert narrower.passes > plan.passes
    assert narrower.half_width <= 0.017


def test_what_cannot_be_had_is_missed_by_a_tenth():
    strata = [piloted(300, [0.1, 0.1])]
    plan = make_plan(sets(*strata, n=1000), [[1.0, 1.0]], ACCURACY, 0.001)
    assert plan.attainable > 0.02
    assert plan.attainable < plan.half_width <= plan.attainable * UNREACHABLE
    # Of these images alone, attacking all of them leaves no doubt.
    alone = make_plan(sets(*strata, n=1000), [[1.0, 1.0]], ACCURACY, 0.001, population=False)
    assert alone.attainable == 0
    assert alone.half_width <= 0.001


def test_a_difference_of_models_that_fall_together_takes_fewer():
    fell_at = np.full((2, 200), 1)
    fell_at[:, :60] = 0
    together = Stratum((True, True), 4000, (200,), fell_at)
    apart = Stratum((True, True), 4000, (200,), np.array([fell_at[0], fell_at[1, ::-1]]))
    passes = [
        make_plan(sets(stratum), [[1.0]], [(0, 1)], 0.01).passes for stratum in (together, apart)
    ]
    assert passes[0] < passes[1] / 2


def test_nothing_stands():
    plan = make_plan([SampledSet(100, ())], [[1.0, 2.0]], ACCURACY, 0.01)
    assert plan.tested.shape == (0, 2)
    assert plan.passes == plan.all_passes == 0
