"""The costs of AutoAttack's parts: what the benchmark's rows hold."""

import pytest
from benchmarks.autoattack import OPERATIONS, autoattack_passes

from zsrobust.attacks import ThreatModel, make_attack


@pytest.mark.slow
def test_rows_of_the_parts():
    rows = list(autoattack_passes("cpu", rounds=1, n=1))
    parts = make_attack("autoattack", ThreatModel()).parts
    assert [(row["part"], row["passes"]) for row in rows] == [
        (part.name, part.passes) for part in parts
    ]
    for row in rows:
        # Square takes no gradient.
        without = {"backward"} if row["part"] == "square" else set()
        assert {what for what in OPERATIONS if row[what] == 0} == without
        assert all(row[what] > 0 for what in OPERATIONS if what not in without)
