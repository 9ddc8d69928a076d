import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsrobust.training.step import learning_rate


def rates(total, warmup, peak=0.1):
    return [
        learning_rate(step, peak=peak, warmup_steps=warmup, total_steps=total)
        for step in range(total)
    ]


def test_by_hand():
    assert rates(8, 4) == pytest.approx(
        [0.025, 0.05, 0.075, 0.1, 0.1, *(0.05 * (1 + math.cos(math.pi * k / 4)) for k in (1, 2, 3))]
    )
    assert rates(2, 0) == pytest.approx([0.1, 0.05])
    assert rates(3, 1000) == pytest.approx([0.0001, 0.0002, 0.0003])


@given(st.integers(1, 300), st.integers(0, 400))
def test_rises_then_falls_and_stays_positive(total, warmup):
    found = rates(total, warmup)
    assert all(0 < rate <= 0.1 + 1e-12 for rate in found)
    top = min(warmup, total - 1)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
