"""What a step computes is counted, operation by operation: nothing of it can be hidden."""

import itertools

import pytest
from benchmarks.authors_way import authors_step
from benchmarks.floor import counted, forward_operations
from benchmarks.ladder import rungs
from benchmarks.our_way import OurStep
from benchmarks.setting import Setting

from zsrobust.config.schema import FinetuneConfig
from zsrobust.objectives import objective_class
from zsrobust.sweep.cost import passes_per_step

pytestmark = pytest.mark.slow

SETTING = Setting("ViT-S-32-alt/random", batch=2, prompts=2, device="cpu")


# Those that need neither a head nor further texts beside the classifier.
PLAIN = ("agft", "fare", "ft_clean", "pmg_aft", "sim_clip", "sum", "tecoa", "trades")


@pytest.mark.parametrize("method", PLAIN)
def test_our_step_takes_the_passes_that_are_needed_and_no_text(method):
    """PGD-2: forward and gradient to the image twice; the student's views forward, backward twice
    each; the original forward once. Besides, the first layer needs no gradient to its input in the
    update, so a little less is counted."""
    said = passes_per_step(FinetuneConfig(model="m", data="d", method=method))
    assert {"pmg_aft": 11, "tecoa": 7}.get(method, said) == said
    found = counted(OurStep(SETTING, objective_class(method)())) / (2 * forward_operations(SETTING))
    assert said - 0.5 < found <= said


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
