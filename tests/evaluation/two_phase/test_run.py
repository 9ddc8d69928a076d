import json
from collections import Counter

import numpy as np
import pytest
import yaml
from PIL import Image

from zsrobust.cli.main import main
from zsrobust.config.schema import to_plain
from zsrobust.evaluation.comparison.paired import compare
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.measurement import Measurement
from zsrobust.evaluation.results import Results
from zsrobust.reporting.leaderboard import write_leaderboard
from zsrobust.reporting.report import write_report
from zsrobust.reporting.tables import accuracy_table
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow

ATTACK = "noise-1+pgd-1+cw-4"
LATER = ["pgd-1", "cw-4"]
HALF_WIDTH = 4.0
"""In points; attacking all gives about 3.1."""


@pytest.fixture
def sets(tmp_path):
    """Two sets of 240 images of one colour and noise, of three and of four classes."""
    specs = []
    for seed, labels in enumerate((("red", "green", "blue"), ("red", "green", "yellow", "grey"))):
        random = np.random.default_rng(seed)
        for label in labels:
            folder = tmp_path / f"set-{seed}" / label
            folder.mkdir(parents=True)
            for index in range(240 // len(labels)):
                noise = random.integers(0, 256, 3) + random.integers(-60, 61, (32, 32, 3))
                pixels = np.clip(noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
        specs.append(f"imagefolder:{tmp_path / f'set-{seed}'}")
    return specs


@pytest.fixture
def settings(config, sets, tuned):
    def make(**changes):
        fields = {"data": sets, "model": [tuned], "attack": [ATTACK], "eps": [Eps("4/255")]}
        return config(**{**fields, **changes})

    return make


@pytest.fixture
def whole(settings, tmp_path):
    """Every part on every sample."""
    evaluate(settings(out=str(tmp_path / "whole")))
    return EvaluatedRun.read(tmp_path / "whole")


@pytest.fixture
def sampled(settings, tmp_path):
    evaluate(settings(out=str(tmp_path / "sampled"), half_width=HALF_WIDTH))
    return EvaluatedRun.read(tmp_path / "sampled")


def lines(run):
    """Outcomes by model, set and sample."""
    return {
        (line["model"], line["dataset"], line["sample_id"]): line
        for line in run.outcomes.to_pylist()
    }


def test_what_was_drawn_fell_as_it_does_without(whole, sampled):
    every, drawn = lines(whole), lines(sampled)
    assert every.keys() == drawn.keys()
    counts = Counter()
    for key, line in drawn.items():
        tried = LATER[: line["drawn_parts"]]
        expected = every[key]["fell_to"]
        if expected in LATER and expected not in tried:
            expected = ""
        assert line["fell_to"] == expected
        counts[line["drawn_parts"]] += every[key]["fell_to"] in ("", *LATER)
    assert counts[0] > 10  # Some that stand the first part are drawn for none of the others,
    assert sum(counts[k] for k in (1, 2)) > 40  # and many are.


def test_models_share_strata_and_draws(sampled):
    by_sample = {}
    for (_, dataset, sample), line in lines(sampled).items():
        drawn = line["stratum"], line["drawn_parts"]
        by_sample.setdefault((dataset, sample), set()).add(drawn)
    assert all(len(found) == 1 for found in by_sample.values())
    # A stratum is a pattern of verdicts of the first part.
    patterns = {}
    for (model, dataset, sample), line in lines(sampled).items():
        pattern = patterns.setdefault((dataset, sample), {})
        pattern[model] = line["fell_to"] in ("", *LATER)
    of_stratum = {}
    for key, pattern in patterns.items():
        (number, _) = next(iter(by_sample[key]))
        of_stratum.setdefault((key[0], number), set()).add(tuple(sorted(pattern.items())))
    assert all(len(found) == 1 for found in of_stratum.values())


def test_the_estimate_follows_from_the_outcomes(whole, sampled):
    clean = {(row.model, row.dataset): row.clean_acc for row in whole.results.rows}
    for row in sampled.results.rows:
        assert row.clean_acc == clean[row.model, row.dataset]
        mine = [v for (m, d, _), v in lines(sampled).items() if (m, d) == (row.model, row.dataset)]
        standing = [line for line in mine if line["fell_to"] in ("", *LATER)]
        share, drawn = len(standing) / row.n, Counter()
        assert row.after_part["noise-1"] == share
        for number in {line["stratum"] for line in standing}:
            stratum = [line for line in standing if line["stratum"] == number]
            for part, name in enumerate(LATER):
                tested = [line for line in stratum if line["drawn_parts"] > part]
                fallen = sum(line["fell_to"] == name for line in tested)
                share -= len(stratum) * fallen / len(tested) / row.n
                drawn[name] += len(tested)
        assert row.robust_acc == pytest.approx(share)
        assert row.after_part["cw-4"] == pytest.approx(share)
        assert row.sampling.standing == len(standing)
        assert row.sampling.tested == dict(drawn)
        assert row.ci95_robust[0] <= row.robust_acc <= row.ci95_robust[1]


def test_intervals_are_about_as_wide_as_asked_for(sampled):
    for average in sampled.results.averages:
        low, high = average.ci95_robust
        assert (high - low) / 2 < HALF_WIDTH / 100 * 1.3
        assert average.sampled


def test_of_these_images_all_attacked_there_is_no_doubt(whole, settings, tmp_path):
    found = evaluate(settings(half_width=0.01, interval="images", out=str(tmp_path / "all")))
    for row, full in zip(found.rows, whole.results.rows, strict=True):
        assert row.robust_acc == pytest.approx(full.robust_acc)
        assert row.ci95_robust == pytest.approx((row.robust_acc,) * 2)
        assert row.after_part == pytest.approx(full.after_part)


def test_stopped_it_goes_on_and_ends_the_same(sampled, settings, tmp_path, monkeypatch):
    attacked, calls = Measurement.attacked, []

    def stopping(measurement, attack, *rest):
        calls.append(attack.name)
        # In the pilot, and then once more after it.
        if len(calls) in (7, 19):
            raise KeyboardInterrupt
        return attacked(measurement, attack, *rest)

    monkeypatch.setattr(Measurement, "attacked", stopping)
    again = settings(half_width=HALF_WIDTH, out=str(tmp_path / "again"))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            evaluate(again)
    evaluate(again)
    found = EvaluatedRun.read(tmp_path / "again")
    assert found.results.rows == sampled.results.rows
    assert found.outcomes.equals(sampled.outcomes)
    # What is finished is answered from its folder.
    done = len(calls)
    assert evaluate(again).rows == sampled.results.rows
    assert len(calls) == done


def test_an_attack_asked_for_beside_it_runs_on_every_sample(sampled, settings, tmp_path):
    both = settings(half_width=HALF_WIDTH, attack=[ATTACK, "cw-4"], out=str(tmp_path / "both"))
    rows = {(r.model, r.dataset, r.attack): r for r in evaluate(both).rows}
    for row in sampled.results.rows:
        assert rows[row.model, row.dataset, ATTACK].robust_acc == row.robust_acc
        assert rows[row.model, row.dataset, "cw-4"].sampling is None


@pytest.mark.slow
def test_two_processes_draw_and_find_what_one_does(sampled, settings, tmp_path, processes):
    recipe = tmp_path / "two.yaml"
    asked = settings(half_width=HALF_WIDTH, out=str(tmp_path / "two"))
    recipe.write_text(yaml.safe_dump(to_plain(asked)))
    run = processes(2, "-m", "zsrobust", "evaluate", "--config", str(recipe))
    assert run.returncode == 0, run.stderr
    found = EvaluatedRun.read(tmp_path / "two")
    assert found.results.rows == sampled.results.rows
    assert found.outcomes.equals(sampled.outcomes)


def test_a_comparison_pairs_what_was_drawn_together(sampled, whole):
    (pair,) = compare(sampled.folder).pairs
    rows = {(row.model, row.dataset): row for row in sampled.results.rows}
    for line in pair.lines:
        low, high = line.difference.interval
        assert low <= line.difference.difference <= high
        if line.condition.startswith(ATTACK) and (pair.first, line.dataset) in rows:
            first, second = (rows[name, line.dataset] for name in (pair.first, pair.second))
            assert line.difference.first == first.robust_acc
            assert line.difference.second == second.robust_acc
            # Models that fall together differ more surely than each is known.
            alone = [r.ci95_robust[1] - r.ci95_robust[0] for r in (first, second)]
            assert high - low < float(np.hypot(*alone)) * 1.05
            assert (line.difference.p < 0.05) == (not low <= 0 <= high)
    assert any("paired on the drawn samples" in remark for remark in pair.remarks)
    # Beside a run of every sample it is told that they are not.
    apart = compare(sampled.folder, whole.folder).pairs[0]
    assert any("not paired" in remark for remark in apart.remarks)
    averages = [line for line in apart.lines if line.condition != "clean"]
    assert all(line.difference.interval[0] < 0 < line.difference.interval[1] for line in averages)


def test_tables_reports_and_leaderboards_mark_estimates(sampled, whole, tmp_path):
    assert "‡" in accuracy_table(sampled.results).as_markdown()
    assert "‡" not in accuracy_table(whole.results).as_markdown()
    page = write_report([sampled.folder], tmp_path / "report").page
    assert "two-phase estimate" in page.read_text()
    board = write_leaderboard([sampled.folder, whole.folder], tmp_path / "board.html")
    assert board.ours
    assert "two-phase estimate" in (tmp_path / "board.html").read_text()


def test_results_say_how_they_were_estimated_and_are_read_back(sampled):
    path = sampled.folder / "results.json"
    for row in json.loads(path.read_text())["results"]:
        about = row["sampling"]
        assert (about["estimator"], about["interval"], about["seed"]) == (
            "two-phase",
            "population",
            0,
        )
        assert about["tested"].keys() == set(LATER)
        assert all(0 < count <= about["standing"] for count in about["tested"].values())
    assert Results.read(path).rows == sampled.results.rows


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"half_width": 0.0}, "half_width"),
        ({"half_width": 50.0}, "half_width"),
        ({"half_width": 1.0, "attack": ["pgd-4"]}, "several parts"),
        ({"interval": "images"}, "interval"),
        ({"half_width_of": "difference"}, "half_width_of"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, changes, word):
    with pytest.raises(RequestError, match=word):
        evaluate(settings(**changes))


def test_the_command_says_cost_before_and_after(settings, tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(settings(half_width=HALF_WIDTH))))
    assert main(["evaluate", "--config", str(recipe)]) in (0, None)
    out, err = capsys.readouterr()
    order = [err.index(word) for word in ("a pilot runs", "samples drawn:", " points in ")]
    assert order == sorted(order)
    assert "‡" in out
