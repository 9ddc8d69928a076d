from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from zsrobust.config.schema import EvaluateConfig
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model
from zsrobust.utils.units import Eps


@pytest.fixture
def sets(tmp_path):
    """Two class folders of noise, 6 and 9 images, at the model's own 32 px."""
    specs = []
    for name, count, seed in (("one", 2, 0), ("two", 3, 1)):
        random = np.random.default_rng(seed)
        for label in ("bird", "cat", "house"):
            folder = tmp_path / name / label
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
        specs.append(f"imagefolder:{tmp_path / name}")
    return specs


@pytest.fixture
def tuned(small_clip, tmp_path):
    """A model folder fine-tuned, as it says, on the set called ``one``."""
    model = load(small_clip)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(1.1)
    save_model(tmp_path / "tuned", replace(model, seen=frozenset({"one"})), "pmg_aft[paper]")
    return str(tmp_path / "tuned")


@pytest.fixture
def config(sets, small_clip, tmp_path):
    def make(**changes):
        fields = {
            "model": [small_clip],
            "data": sets,
            "out": str(tmp_path / "out"),
            "attack": ["pgd-3"],
            "eps": [Eps("2/255"), Eps("8/255")],
            "device": "cpu",
        }
        return EvaluateConfig(**{**fields, **changes})

    return make
