"""The benchmark of the allocator: its rows."""

import pytest
from benchmarks.kept_memory import kept_memory


@pytest.mark.slow
def test_rows():
    (row,) = kept_memory(rounds=1, models=["glyph-clip"])
    ratio = row["returned"]["median"] / row["kept"]["median"]
    assert row["kept_vs_returned"] == pytest.approx(ratio)
    assert row["peak_mib_kept"] > 100
    assert row["peak_mib_returned"] > 100
