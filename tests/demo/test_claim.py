import math
import re

import numpy as np
import pyarrow as pa
import pytest

from zsrobust.demo.claim import Claim, find_claim, sentence
from zsrobust.evaluation.comparison.gap import Gap
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.outcomes import Outcomes, table
from zsrobust.evaluation.results import Results, Row
from zsrobust.utils.errors import RequestError

ATTACK = "pgd-10 4/255"
N = 200


@pytest.fixture
def run(tmp_path):
    """An evaluation from (model, set) to how many of ``N`` are right before and after."""

    def make(counts, seen=()):
        rows, tables = [], []
        for (model, dataset), (clean, robust) in counts.items():
            row = Row.counted(
                **{"dataset": dataset, "split": "test", "model": model, "method": model},
                **{"seen": dataset in seen, "resolution": 32, "attack": "pgd-10", "norm": "linf"},
                **{"eps": 4 / 255, "key": f"{model} {dataset}", "n": N},
                **{"clean": clean, "robust": robust},
            )
            rows.append(row)
            before, after = (_outcomes(count) for count in (clean, robust))
            tables.append(table(row, before, after))
        return EvaluatedRun(tmp_path, Results({}, {}, rows), pa.concat_tables(tables))

    return make


def _outcomes(right):
    wrong = N - right
    fell_to = [""] * right + ["clean"] * wrong
    predictions = [0] * right + [1] * wrong
    ids = [f"{index:04d}" for index in range(N)]
    return Outcomes(ids, [0] * N, predictions, [0.0] * N, [1.0] * N, fell_to)


def found(run, tecoa, pmg_aft, original=(180, 2)):
    counts = {}
    for model, (clean, robust) in (("clip", original), ("t", tecoa), ("p", pmg_aft)):
        counts[model, "seen"] = (clean, 0)
        counts[model, "birds"] = (clean, robust)
        counts[model, "cars"] = (clean - 20, robust)
    return find_claim(run(counts, seen=("seen",)), ATTACK, "clip", [("t", "p")])


def test_the_claim_holds_where_both_differences_are_above_zero(run):
    claim = found(run, (100, 40), (140, 70))
    assert claim.verdict == "holds"
    assert (claim.over, claim.sets, claim.n) == ("unseen", 2, 2 * N)
    assert claim.clean.first == pytest.approx(90 / N)
    assert claim.robust.second == pytest.approx(70 / N)
    low, high = claim.clean.interval
    # Of the samples that differ all favour one side; a normal interval for comparison.
    share = 40 / N
    half = 1.96 * math.sqrt(share * (1 - share) / (2 * N))
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.01)
    text = sentence(claim)
    assert text.startswith(
        "On the average of 2 unseen sets (n 400), where pgd-10 4/255 takes the original from 85.0% "
        "to 1.0%, PMG-AFT's clean accuracy is above TeCoA's (65.0% against 45.0%, difference +20.0 "
        "points, 95 % interval "
    )
    assert text.endswith("the paper's claim that PMG-AFT is better than TeCoA in both holds here.")
    # One sentence: every other full stop is a decimal point.
    assert len(re.findall(r"\.(?!\d)", text)) == 1


NOT, LESS = "does not hold", "is not decided"


@pytest.mark.parametrize(
    ("tecoa", "pmg_aft", "verdict", "clean", "robust"),
    [
        ((140, 70), (100, 40), NOT, "accuracy is below", "accuracy is below"),
        ((100, 70), (140, 40), NOT, "accuracy is above", "accuracy is below"),
        ((140, 40), (100, 70), NOT, "accuracy is below", "accuracy is above"),
        ((140, 41), (100, 40), NOT, "accuracy is below", "accuracies are not distinguishable"),
        ((140, 40), (140, 70), LESS, "accuracies are not distinguishable", "accuracy is above"),
        ((100, 40), (140, 41), LESS, "accuracy is above", "accuracies are not distinguishable"),
        (
            *((100, 40), (100, 40), LESS),
            *("accuracies are not distinguishable", "accuracies are not distinguishable"),
        ),
    ],
)
def test_a_claim_that_does_not_hold_is_reported(run, tecoa, pmg_aft, verdict, clean, robust):
    claim = found(run, tecoa, pmg_aft)
    assert claim.verdict == verdict
    text = sentence(claim)
    assert f"better than TeCoA in both {verdict} here." in text
    assert f"clean {clean}" in text
    assert f"robust {robust}" in text


def test_seeds_that_agree_do_not_make_the_samples_more(run):
    gains = {0: (20, 30), 1: (26, 34), 2: (32, 26)}
    counts = {("clip", "birds"): (180, 0)}
    for seed, (clean, robust) in gains.items():
        counts[f"t{seed}", "birds"] = (100 + seed, 40)
        counts[f"p{seed}", "birds"] = (100 + seed + clean, 40 + robust)
    pairs = [(f"t{seed}", f"p{seed}") for seed in gains]
    claim = find_claim(run(counts), ATTACK, "clip", pairs)
    differences = np.array([robust / N for _, robust in gains.values()])
    # Student's 0.975 quantile of two degrees of freedom.
    half = 4.3027 * differences.std(ddof=1) / math.sqrt(3)
    # Here the mean of the intervals over samples (about 0.05 to either side) is the wider one.
    own = [find_claim(run(counts), ATTACK, "clip", [pair]).robust.interval for pair in pairs]
    low, high = np.mean(own, axis=0)
    assert low < differences.mean() - half < differences.mean() + half < high
    assert claim.robust.interval == pytest.approx((low, high), abs=1e-9)
    assert claim.seeds == 3
    assert "(n 200, mean of 3 seeds)" in sentence(claim)
    assert "the one unseen set" in sentence(claim)


def test_seeds_that_disagree_leave_the_claim_open(run):
    counts = {("clip", "birds"): (180, 0)}
    gains = (10, 60, 20)
    for seed, gain in enumerate(gains):
        counts[f"t{seed}", "birds"] = (100, 20)
        counts[f"p{seed}", "birds"] = (100 + gain, 20 + gain)
    claim = find_claim(run(counts), ATTACK, "clip", [(f"t{s}", f"p{s}") for s in range(3)])
    differences = np.array(gains) / N
    half = 4.3027 * differences.std(ddof=1) / math.sqrt(3)
    assert claim.robust.interval == pytest.approx(
        (differences.mean() - half, differences.mean() + half), abs=1e-5
    )
    assert claim.verdict == "is not decided"


def test_where_every_set_was_trained_on_the_average_is_over_all(run):
    counts = {(model, "birds"): (100, 10) for model in ("clip", "t", "p")}
    claim = find_claim(run(counts, seen=("birds",)), ATTACK, "clip", [("t", "p")])
    assert claim.over == "all"
    assert sentence(claim).startswith("On the one set (n 200), where")


def test_a_model_without_results_is_named(run):
    evaluated = run({("clip", "birds"): (100, 10)})
    with pytest.raises(RequestError, match="holds no result of t under pgd-10 4/255"):
        find_claim(evaluated, ATTACK, "clip", [("t", "p")])


def test_an_interval_that_touches_zero_decides_nothing():
    gap = Gap(0.5, 0.6, (0.0, 0.2))
    assert gap.verdict == "undecided"
    claim = Claim(ATTACK, "unseen", 3, 9, 1, 0.8, 0.0, gap, Gap(0.1, 0.2, (0.05, 0.15)))
    assert claim.verdict == "is not decided"
