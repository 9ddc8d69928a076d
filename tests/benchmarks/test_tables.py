"""The rows of the benchmarks, on a tiny model."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from benchmarks.fine_tuning import ATTACK, AUTHORS, FASTEST, OURS, ablation, fine_tuning, steps
from benchmarks.memory import peak_mib
from benchmarks.report import markdown
from benchmarks.scaling import AXES, Axis, scaling, scaling_figure
from benchmarks.setting import Setting
from benchmarks.timing import timed

pytestmark = pytest.mark.slow


@pytest.fixture
def setting(small_clip):
    return Setting(small_clip, batch=4, prompts=3, device="cpu")


def test_fine_tuning(setting):
    rows = {row["implementation"]: row for row in fine_tuning([setting], rounds=2, memory=False)}
    assert set(rows) == set(steps(setting))
    ours, authors = rows[OURS], rows[AUTHORS]
    assert ours["time_vs_ours"] == 1
    ratio = authors["seconds"]["median"] / ours["seconds"]["median"]
    assert authors["time_vs_ours"] == pytest.approx(ratio)
    assert ours["speedup_vs_authors"] == pytest.approx(ratio)
    assert authors["speedup_vs_authors"] is None
    assert authors["passes"] > ours["passes"] > 0
    assert ours["images_per_second"] == pytest.approx(4 / ours["seconds"]["median"])
    table = markdown(list(rows.values()))
    assert "peak mib" not in table, "a column without a value is left out"
    assert table.count("\n") == 2 + len(rows)


def test_ablation(setting):
    rows = ablation(setting, rounds=1)
    flops = [row["tflop"] for row in rows]
    # One student forward needs the same operations in fewer calls.
    assert all(later <= 1.001 * earlier for earlier, later in itertools.pairwise(flops))
    for before, row in itertools.pairwise(rows):
        speedup = before["seconds"]["median"] / row["seconds"]["median"]
        assert row["measured_speedup"] == pytest.approx(speedup)


def test_scaling(setting):
    axes = {"batch": Axis((2, 4)), "attack_steps": Axis((1,)), "radii": Axis((2,), evaluation=True)}
    rows = list(scaling(setting, axes, rounds=1))
    assert [(row["axis"], row["value"], row["batch"]) for row in rows] == [
        ("batch", 2, 2),
        ("batch", 4, 4),
        ("attack_steps", 1, 4),
        ("radii", 2, 4),
    ]
    for row in rows:
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"]["median"])
    panels = scaling_figure(rows).axes
    assert [panel.get_xlabel() for panel in panels] == ["batch", "attack steps", "radii"]
    assert all(axes.keys() == AXES["cpu"].keys() for axes in AXES.values())


def _holding(mib):
    return lambda: bytearray(mib * 2**20)


def test_peak_memory():
    small, large = peak_mib(_holding, 10), peak_mib(_holding, 210)
    if math.isnan(small):
        pytest.skip("memory is read from /proc, which this system lacks")
    assert large - small == pytest.approx(200, rel=0.1)


def test_reduced_precision(setting):
    reduced = steps(replace(setting, precision="bf16"))
    assert {name: step.setting.precision for name, step in reduced.items() if step.pmg_aft} == {
        **{OURS: "bf16", OURS + ATTACK: "bf16", OURS + FASTEST: "bf16", AUTHORS: "fp16"},
    }
    found = {name: (s.setting.attack_precision, s.setting.compiled) for name, s in reduced.items()}
    assert found[OURS] == ("fp32", False)
    assert found[OURS + ATTACK] == ("bf16", False)
    assert found[OURS + FASTEST] == ("bf16", True)


def test_a_call_that_runs_out_of_memory_is_reported_and_left_out():
    calls = []

    def too_large():
        calls.append("large")
        raise torch.OutOfMemoryError("no room")

    timings = timed(
        {"large": too_large, "small": lambda: calls.append("small")},
        rounds=3,
        device=torch.device("cpu"),
    )
    assert calls == ["large", "small", "small", "small"]
    assert timings["large"].as_dict() == "out of memory"
    assert timings["small"].rounds == 3
    row = {"seconds": timings["large"].as_dict(), "speed": 4 / timings["large"].median}
    assert markdown([row]) == "| seconds |\n| --- |\n| out of memory |\n"
