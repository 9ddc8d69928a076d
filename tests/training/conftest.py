import os
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from zsrobust.config.schema import FinetuneConfig, Optimizer, TrainingAttack
from zsrobust.training import trainer
from zsrobust.utils.units import Eps


@pytest.fixture
def signalled(monkeypatch):
    """``with signalled(number, *steps) as calls``: the process gets the signal within these steps,
    counted over all runs inside; ``calls`` has an entry a step."""

    @contextmanager
    def during(number, *steps):
        step, calls = trainer.TrainingStep.__call__, []

        def counted(self, *parts, **options):
            calls.append(1)
            if len(calls) in steps:
                os.kill(os.getpid(), number)
            return step(self, *parts, **options)

        with monkeypatch.context() as patch:
            patch.setattr(trainer.TrainingStep, "__call__", counted)
            yield calls

    return during


@pytest.fixture
def photos(tmp_path):
    """A data specification: 4 class folders of 14 images, each class with a colour of its own."""
    random = np.random.default_rng(0)
    for label, colour in enumerate([(200, 40, 40), (40, 200, 40), (40, 40, 200), (180, 180, 30)]):
        folder = tmp_path / "photos" / f"class_{label}"
        folder.mkdir(parents=True)
        for index in range(14):
            pixels = np.clip(np.array(colour) + random.integers(-60, 60, (40, 36, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return f"imagefolder:{tmp_path / 'photos'}"


@pytest.fixture
def config(small_clip, photos, tmp_path):
    """A short run on the small CLIP; any field can be replaced."""

    def make(out="run", **changes):
        fields = {
            "model": small_clip,
            "data": photos,
            "out": str(tmp_path / out),
            "steps": 6,
            "batch_size": 8,
            "hold_out": 0.2,
            "evaluate_every": 4,
            "checkpoint_every": 2,
            "device": "cpu",
            "optimizer": Optimizer(lr=0.02, warmup_steps=2),
            "attack": TrainingAttack(eps=Eps("4/255"), step_size=Eps("4/255")),
        }
        return FinetuneConfig(**{**fields, **changes})

    return make


@pytest.fixture
def weights():
    """The encoder in a run's last checkpoint."""

    def read(folder):
        newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
        return load_file(newest / "weights.safetensors")

    return read
