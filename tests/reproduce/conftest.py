"""A replication's world of seconds."""

from dataclasses import replace

import pytest

from zsrobust.config.schema import EvaluateConfig, FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.reproduce.world import World
from zsrobust.utils.units import Eps


@pytest.fixture
def world(small_clip, photos):
    """Two steps a run on a random CLIP, two seeds."""
    train, one, two = photos("train", 4, 8), photos("one", 3, 4), photos("other", 2, 5)
    evaluation = EvaluateConfig(
        model=[small_clip],
        data=[f"imagefolder:{one}", f"imagefolder:{two}"],
        attack=["pgd-2"],
        eps=["4/255"],
    )
    return World(
        name="small",
        base=FinetuneConfig(
            model=small_clip,
            data=f"imagefolder:{train},name=world",
            attack=TrainingAttack(eps=Eps("4/255"), steps=2, step_size=Eps("4/255")),
            optimizer=Optimizer(warmup_steps=0),
            steps=2,
            batch_size=8,
            hold_out=0.2,
            evaluate_every=2,
        ),
        start=1e-2,
        seeds=(0, 1),
        pgd=evaluation,
        autoattack=replace(evaluation, attack=["pgd-3"], samples=4),
    )
