"""The benchmark beside busy processes: its rows, and that no busy process is left."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.busy import busy, busy_processes

from zsrobust.utils.openmp import CHOSEN

pytestmark = pytest.mark.slow


def test_rows(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    rows = list(busy(rounds=1, batch=2))
    chosen = " ".join(f"{name}={value}" for name, value in CHOSEN.items())
    assert [row["wait_policy"] for row in rows] == 2 * [chosen, "unset"]
    for index, row in enumerate(rows):
        unset = rows[1 if index < 2 else 3]
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


def test_they_end_when_the_benchmark_is_killed():
    code = "with busy_processes(1) as [one]: print(one.pid, flush=True); os._exit(1)"
    found = subprocess.run(
        [sys.executable, "-c", f"import os; from benchmarks.busy import busy_processes\n{code}"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    pid, deadline = int(found.stdout), time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _runs(pid):
    state = Path(f"/proc/{pid}/stat")
    try:
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
