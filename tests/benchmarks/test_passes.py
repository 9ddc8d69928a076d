"""What a step computes is counted, operation by operation: nothing of it can be hidden."""

import itertools

import pytest
from benchmarks.authors_way import authors_step
from benchmarks.floor import counted, forward_operations
from benchmarks.ladder import rungs
from benchmarks.our_way import our_step
from benchmarks.setting import Setting

SETTING = Setting("ViT-S-32-alt/random", batch=2, prompts=2, device="cpu")


@pytest.mark.parametrize(("guided", "passes"), [(True, 11), (False, 7)])
def test_our_step_takes_the_passes_that_are_needed_and_no_text(guided, passes):
    """PGD-2: forward and gradient to the image twice; the student's views forward, backward twice
    each; the original forward once. Besides, the first layer needs no gradient to its input in the
    update, so a little less is counted."""
    found = counted(our_step(SETTING, guided)) / (2 * forward_operations(SETTING))
    assert passes - 0.5 < found <= passes


def test_the_authors_way_takes_fifteen_of_images_and_fifteen_of_text():
    step = authors_step(SETTING, True)
    images = 2 * forward_operations(SETTING)
    text = counted(lambda: step.student.texts.encode_text(step.student.tokens))
    found = counted(step)
    assert found == pytest.approx(15 * (images + text), rel=0.05)


def test_every_way_gives_the_same_loss_step_after_step_for_fewer_operations():
    """The same random starts, the same attack, the same objective: preset ``paper``."""
    losses, operations = {}, []
    for name, way in rungs(SETTING).items():
        operations.append(counted(lambda way=way, name=name: losses.update({name: [way()]})))
        losses[name].append(way())
    (first, *others) = losses.values()
    for found in others:
        # A gradient next to zero may change its sign with the order of a sum.
        assert found == pytest.approx(first, rel=1e-3)
    # One forward for both views is the same operations in fewer calls.
    assert all(later <= earlier * 1.001 for earlier, later in itertools.pairwise(operations))
    assert operations[-1] < 0.6 * operations[0]
