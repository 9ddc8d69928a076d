import numpy as np
import pytest
from PIL import Image

from zsrobust.demo.plan import Plan
from zsrobust.units import Eps

COLOURS = {
    **{"red": (210, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 210)},
    **{"yellow": (200, 190, 30), "grey": (120, 120, 120), "white": (230, 230, 230)},
}


@pytest.fixture
def photos(tmp_path):
    """A folder of class folders, each of its own colour, as many images as asked for."""

    def make(name="photos", classes=4, images=6):
        random = np.random.default_rng(len(name))
        for label in list(COLOURS)[:classes]:
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for index in range(images):
                noise = random.integers(-30, 30, (32, 32, 3))
                pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
        return tmp_path / name

    return make


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
        lr=0.02,
        hold_out=0.2,
        samples=8,
        seeds=(0,),
        pictures=3,
        remark="A world of colours.",
    )
