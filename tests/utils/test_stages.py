import pytest

from zsrobust.utils.stages import Clock, Stage


def test_each_kind_has_its_own_speed_and_a_new_one_that_of_all():
    now = [100.0]
    clock = Clock(lambda: now[0])
    training, evaluating = Stage("a", "training", 1000.0), Stage("b", "evaluating", 500.0)
    assert clock.left([training]) is None
    assert clock.announce([training]) == ""
    now[0] = 110.0
    clock.note(training, 10.0)
    # 100 passes a second.
    assert clock.left([training, evaluating]) == pytest.approx(10 + 5)
    assert clock.announce([training, evaluating]) == " (0:10 so far, about 0:15 left in all)"
    clock.note(evaluating, 50.0)
    assert clock.left([training, evaluating]) == pytest.approx(10 + 50)
    assert clock.left([Stage("c", "another", 150.0)]) == pytest.approx(60 / 1500 * 150)
    assert clock.left([]) == 0
