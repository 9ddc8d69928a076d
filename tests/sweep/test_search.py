"""The rule that finds every method's learning rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.config.schema import FinetuneConfig, Optimizer
from zsrobust.sweep.search import (
    DIVERGED,
    Search,
    System,
    best_rate,
    index_of,
    next_rates,
    rate,
)


def search(score, start=1e-3):
    """All rates tried and their scores, when ``score`` says how good a rate is."""
    scores = {}
    while rates := next_rates(scores, start):
        scores |= {lr: score(lr) for lr in rates}
    return scores


def test_the_grid_has_two_rates_a_decade():
    assert [rate(index) for index in range(-7, 2)] == [3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3]
    assert all(index_of(rate(index)) == index for index in range(-12, 3))
    with pytest.raises(ValueError, match="not on the grid"):
        index_of(2e-3)


@given(st.integers(-5, 5))
def test_one_peak_is_found_and_its_two_sides_are_known(away):
    peak = rate(index_of(1e-3) + away)
    scores = search(lambda lr: -abs(math.log(lr / peak)))
    assert best_rate(scores) == peak
    for neighbour in (-1, 1):
        assert rate(index_of(peak) + neighbour) in scores


def test_the_search_ends_where_it_only_ever_gets_better():
    assert len(search(lambda lr: lr)) < 12
    assert len(search(lambda lr: -lr)) < 12


def test_a_rate_that_diverges_is_worse_than_any():
    scores = search(lambda lr: DIVERGED if lr > 1e-3 else lr)
    assert best_rate(scores) == 1e-3
    assert max(scores) == 3e-3


def test_where_all_rates_diverge_it_goes_down_as_far_as_any_search_goes():
    scores = search(lambda lr: DIVERGED if lr > 2e-5 else lr)
    assert best_rate(scores) == 1e-5
    assert min(search(lambda lr: DIVERGED)) == 1e-6


def test_of_equals_the_lower_rate():
    assert best_rate({1e-3: 0.5, 3e-4: 0.5, 3e-3: 0.4}) == 3e-4


def test_shorter_runs_of_the_search_decay_and_warm_up_alike(tmp_path):
    config = FinetuneConfig(
        method="tecoa",
        model="glyph-clip",
        data="glyph:training",
        out=str(tmp_path),
        optimizer=Optimizer(warmup_steps=30),
        steps=300,
        evaluate_every=100,
    )
    systems = {"tecoa": System("tecoa", "TeCoA", config, 1e-3)}
    jobs = Search(systems, 0, tmp_path, tmp_path / "tuning.json", steps=100).jobs()
    assert [job.config.optimizer.lr for job in jobs] == [1e-3, 3e-4, 3e-3]
    assert {(job.config.steps, job.config.optimizer.warmup_steps) for job in jobs} == {(100, 10)}
    assert {job.config.evaluate_every for job in jobs} == {100}
    final = Search(systems, 0, tmp_path, tmp_path / "tuning.json").jobs()
    assert {job.config.steps for job in final} == {300}
    assert not {job.folder for job in jobs} & {job.folder for job in final}
