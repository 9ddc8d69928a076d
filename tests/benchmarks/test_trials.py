"""What is tried on a GPU, as far as a machine without one can tell."""

import pytest
from benchmarks.setting import Setting
from benchmarks.trials import Trial, trials

from benchmarks import trials as module

pytestmark = pytest.mark.slow


def test_what_fails_is_told_and_ends_nothing(monkeypatch, small_clip):
    def failing():
        raise OSError("no compiler\nand much more")

    def made(setting):
        yield Trial("compiled", lambda: None, failing, 2.0)
        yield Trial("sound", lambda: None, lambda: None, 3.0)

    monkeypatch.setattr(module, "on_cpu", made)
    monkeypatch.setattr(module, "peak_mib", lambda make, setting, checkpointed: 1.0)
    first, second, *memory = trials(Setting(small_clip, 2, 2, "cpu"), rounds=1)
    assert first == {"trial": "compiled", "with": "failed: OSError: no compiler"}
    assert (second["predicted_gain"], "measured_gain" in second) == (3.0, True)
    assert [row["peak_mib"] for row in memory] == [1.0, 1.0]
