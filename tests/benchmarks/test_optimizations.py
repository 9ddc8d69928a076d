"""The GPU's optimizations, as far as a machine without one can test them."""

import pytest
from benchmarks.optimizations import Optimization, optimizations
from benchmarks.setting import Setting

from benchmarks import optimizations as module

pytestmark = pytest.mark.slow


def test_a_failure_is_reported_and_does_not_stop_the_others(monkeypatch, small_clip):
    def failing():
        raise OSError("no compiler\nand much more")

    def made(setting):
        yield Optimization("compiled", lambda: None, failing, 2.0)
        yield Optimization("sound", lambda: None, lambda: None, 3.0)

    monkeypatch.setattr(module, "on_cpu", made)
    monkeypatch.setattr(module, "peak_mib", lambda make, setting, checkpointing: 1.0)
    first, second, *memory = optimizations(Setting(small_clip, 2, 2, "cpu"), rounds=1)
    assert first == {"optimization": "compiled", "with": "failed: OSError: no compiler"}
    assert (second["predicted_speedup"], "measured_speedup" in second) == (3.0, True)
    assert [row["peak_mib"] for row in memory] == [1.0, 1.0]
