import math

import pytest

from zsrobust.training.batch_accuracy import ADVERSARIAL_STEPS, STEPS, BatchAccuracy

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


def adversarial(losses, accuracies, labels=tuple(range(10)), classes=10):
    counted = BatchAccuracy.on(labels, classes)
    steps = zip(losses, accuracies, strict=True)
    said = [
        counted.count({"adversarial_loss": loss, "adversarial_acc": accuracy}, IMAGES)
        for loss, accuracy in steps
    ]
    return said, counted


def test_without_clean_images_the_loss_of_guessing_is_told_once():
    n = ADVERSARIAL_STEPS
    said, counted = adversarial([8.0] * 5 + [math.log(10)] * 2 * n, [0.0] * 5 + [0.1] * 2 * n)
    (first,) = [step for step, warning in enumerate(said) if warning]
    assert n <= first < n + 5
    assert "no better than guessing: cross-entropy 2.3" in counted.warning
    resumed = BatchAccuracy.on(range(10), 10)
    resumed.adversarial = counted.adversarial
    assert resumed.warning == counted.warning
    for _ in range(n):
        resumed.count({"adversarial_loss": 1.5, "adversarial_acc": 0.5}, IMAGES)
    assert resumed.warning == ""


def test_guessing_is_by_the_frequency_of_labels():
    labels = [0] * 8 + [1, 2]
    entropy = -0.8 * math.log(0.8) - 2 * 0.1 * math.log(0.1)
    counted = BatchAccuracy.on(labels, 4)
    assert counted.chance_loss == pytest.approx(entropy)
    assert counted.top_share == pytest.approx(0.8)
    said, _ = adversarial([entropy] * ADVERSARIAL_STEPS, [0.8] * ADVERSARIAL_STEPS, labels, 4)
    assert said[-1]


@pytest.mark.parametrize(
    ("loss", "accuracy"),
    [
        (8.0, 0.0),  # not robust yet
        (2.3, 0.2),  # surely above chance
        (1.9, 0.1),
    ],
)
def test_no_alarm_without_clean_images(loss, accuracy):
    n = 3 * ADVERSARIAL_STEPS
    assert not any(adversarial([loss] * n, [accuracy] * n)[0])
