"""The suite's rows say what they measured; here on a model of no size, so speeds mean nothing."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from benchmarks.fine_tuning import ATTACK, FASTEST, OURS, THEIRS, fine_tuning, steps
from benchmarks.ladder import ladder
from benchmarks.memory import peak_mib
from benchmarks.scaling import AXES, Axis, scaling, scaling_figure
from benchmarks.setting import Setting
from benchmarks.side_by_side import timed
from benchmarks.tables import markdown

pytestmark = pytest.mark.slow


@pytest.fixture
def setting(small_clip):
    return Setting(small_clip, batch=4, prompts=3, device="cpu")


def test_a_step_beside_others(setting):
    rows = {row["way"]: row for row in fine_tuning([setting], rounds=2, memory=False)}
    assert set(rows) == set(steps(setting))
    ours, theirs = rows[OURS], rows[THEIRS]
    assert ours["against_ours"] == 1
    ratio = theirs["seconds"]["median"] / ours["seconds"]["median"]
    assert theirs["against_ours"] == pytest.approx(ratio)
    assert ours["faster_than_theirs"] == pytest.approx(ratio)
    assert theirs["faster_than_theirs"] is None
    assert theirs["passes"] > ours["passes"] > 0
    assert ours["images_per_second"] == pytest.approx(4 / ours["seconds"]["median"])
    table = markdown(list(rows.values()))
    assert "peak mib" not in table, "what was not measured has no column"
    assert table.count("\n") == 2 + len(rows)


def test_each_saving_by_itself(setting):
    rows = ladder(setting, rounds=1)
    operations = [row["tera_operations"] for row in rows]
    # One forward for both views is the same operations in fewer calls.
    assert all(later <= 1.001 * earlier for earlier, later in itertools.pairwise(operations))
    for before, row in itertools.pairwise(rows):
        gain = before["seconds"]["median"] / row["seconds"]["median"]
        assert row["measured_gain"] == pytest.approx(gain)


def test_growth(setting):
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


def test_memory_is_what_a_call_takes_at_its_highest():
    small, large = peak_mib(_holding, 10), peak_mib(_holding, 210)
    if math.isnan(small):
        pytest.skip("memory is read from /proc, which this system has not")
    assert large - small == pytest.approx(200, rel=0.1)


def test_reduced_precision_is_each_ones_own(setting):
    reduced = steps(replace(setting, precision="bf16"))
    assert {name: step.setting.precision for name, step in reduced.items() if step.guided} == {
        **{OURS: "bf16", OURS + ATTACK: "bf16", OURS + FASTEST: "bf16", THEIRS: "fp16"},
    }
    found = {name: (s.setting.attack_precision, s.setting.compiled) for name, s in reduced.items()}
    assert found[OURS] == ("fp32", False), "which is what --precision bf16 means"
    assert found[OURS + ATTACK] == ("bf16", False)
    assert found[OURS + FASTEST] == ("bf16", True)


def test_a_way_without_memory_is_told_and_ends_nothing():
    calls = []

    def too_large():
        calls.append("large")
        raise torch.OutOfMemoryError("no room")

    ways = {"large": too_large, "small": lambda: calls.append("small")}
    found = timed(ways, rounds=3, device=torch.device("cpu"))
    assert calls == ["large", "small", "small", "small"]
    assert found["large"].as_dict() == "out of memory"
    assert found["small"].rounds == 3
    row = {"seconds": found["large"].as_dict(), "speed": 4 / found["large"].median}
    assert markdown([row]) == "| seconds |\n| --- |\n| out of memory |\n"
