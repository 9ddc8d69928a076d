import pytest

from zsrobust.training.batch_accuracy import STEPS, BatchAccuracy

IMAGES = 64


def warnings(accuracies, chance_acc=0.1):
    counted = BatchAccuracy(chance_acc)
    return [counted.count({"clean_acc": accuracy}, IMAGES) for accuracy in accuracies], counted


def test_a_fall_to_chance_is_told_once_as_soon_as_the_window_is_full():
    said, counted = warnings([0.5] + 2 * STEPS * [0.1])
    assert [step for step, warning in enumerate(said) if warning] == [STEPS]
    assert "10.0%" in said[STEPS]
    assert "50.0% on the first" in said[STEPS]
    assert counted.warning == said[STEPS]


def test_it_is_taken_back_when_accuracy_returns():
    said, counted = warnings([0.5] + STEPS * [0.1] + STEPS * [0.5])
    assert any(said)
    assert counted.warning == ""


@pytest.mark.parametrize(
    ("first", "then", "chance_acc"),
    [
        (0.5, 0.35, 0.1),  # more than half of what is above chance is left
        (0.15, 0.1, 0.1),  # the original is not surely above chance itself
        (1.0, 0.6, 0.1),
    ],
)
def test_no_alarm(first, then, chance_acc):
    said, _ = warnings([first] + 3 * STEPS * [then], chance_acc)
    assert not any(said)


def test_a_resumed_run_goes_on_counting():
    _, before = warnings([0.5] + (STEPS - 1) * [0.1])
    resumed = BatchAccuracy(0.1, before.counts)
    assert resumed.count({"clean_acc": 0.1}, IMAGES)


def test_steps_without_clean_images_are_not_counted():
    counted = BatchAccuracy(0.1)
    assert not any(counted.count({"adversarial_acc": 0.0}, IMAGES) for _ in range(3 * STEPS))
    assert counted.counts == []
