"""The benchmark beside busy processes: its rows, and that no busy process is left."""

import pytest
from benchmarks.busy import busy, busy_processes

from benchmarks import busy as module
from zsrobust.utils.openmp import CHOSEN

pytestmark = pytest.mark.slow


def test_rows(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    rows = list(busy(rounds=1, batch=2))
    chosen = " ".join(f"{name}={value}" for name, value in CHOSEN.items())
    policies = [chosen, "OMP_WAIT_POLICY=PASSIVE", "unset"]
    assert [row["wait_policy"] for row in rows] == 2 * policies
    for index, row in enumerate(rows):
        unset = rows[2 if index < 3 else 5]
        assert row["task"] == unset["task"]
        idle = row["idle"]["median"]
        assert row["idle_vs_unset"] == pytest.approx(idle / unset["idle"]["median"])
        assert row["one_vs_idle"] == pytest.approx(row["beside_one"]["median"] / idle)
        assert row["two_vs_idle"] == pytest.approx(row["beside_two"]["median"] / idle)


def test_busy_processes_end_with_the_measurement():
    with busy_processes(2) as started:
        assert [process.poll() for process in started] == [None, None]
    assert all(process.poll() is not None for process in started)
    with pytest.raises(KeyboardInterrupt), busy_processes(1) as [process]:
        raise KeyboardInterrupt
    assert process.poll() is not None


def test_they_end_by_themselves(monkeypatch):
    monkeypatch.setattr(module, "LOOP", module.LOOP.replace(str(module.LONGEST), "0"))
    with busy_processes(1) as [process]:
        assert process.wait(timeout=60) == 0
