"""The suite's rows say what they measured; here on a model of no size, so speeds mean nothing."""

import itertools
import math

import pytest
from benchmarks.fine_tuning import OURS, THEIRS, WAYS, fine_tuning
from benchmarks.ladder import ladder
from benchmarks.memory import peak_mib
from benchmarks.scaling import AXES, Axis, scaling, scaling_figure
from benchmarks.setting import Setting
from benchmarks.tables import markdown


@pytest.fixture
def setting(small_clip):
    return Setting(small_clip, batch=4, prompts=3, device="cpu")


def test_a_step_beside_others(setting):
    rows = {row["way"]: row for row in fine_tuning([setting], rounds=2, memory=False)}
    assert set(rows) == set(WAYS)
    ours, theirs = rows[OURS], rows[THEIRS]
    assert ours["against_ours"] == 1
    ratio = theirs["seconds"]["median"] / ours["seconds"]["median"]
    assert theirs["against_ours"] == pytest.approx(ratio)
    assert theirs["passes"] > ours["passes"] > 0
    assert ours["images_per_second"] == pytest.approx(4 / ours["seconds"]["median"])
    table = markdown(list(rows.values()))
    assert "peak mib" not in table, "what was not measured has no column"
    assert table.count("\n") == 2 + len(WAYS)


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
    rows = scaling(setting, axes, rounds=1)
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
