import pytest

from zsrobust.demo.plan import Plan
from zsrobust.utils.units import Eps


@pytest.fixture
def plan(small_clip, photos):
    """A demonstration of seconds on a random CLIP: one set trained on and two others."""
    train, one, two = photos("train", 4, 8), photos("one", 3, 4), photos("other", 2, 5)
    return Plan(
        model=small_clip,
        train=f"imagefolder:{train},name=world",
        data=(f"imagefolder:{one}", f"imagefolder:{two}"),
        training_eps=Eps("4/255"),
        eps=Eps("4/255"),
        attack=("pgd-2",),
        steps=3,
        training_attack_steps=1,
        batch_size=8,
        lr={"ft_clean": 0.02, "tecoa": 0.02, "pmg_aft": 0.02},
        hold_out=0.2,
        samples=8,
        seeds=(0,),
        pictures=3,
        remark="A world of colours.",
    )
