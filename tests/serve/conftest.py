"""Models as they are served, images in files, and values as the page sends them."""

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("gradio")

from zsrobust.serve.examples import examples
from zsrobust.serve.handlers import FormValues
from zsrobust.serve.limits import Limits
from zsrobust.serve.served import load_served


@pytest.fixture(scope="session")
def served(small_clip, tmp_path_factory):
    """glyph-clip and a small random CLIP, which takes smaller images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSROBUST_CACHE", str(tmp_path_factory.mktemp("cache")))
        return load_served(("glyph-clip", small_clip), torch.device("cpu"), Limits())


@pytest.fixture(scope="session")
def bishop(served):
    """An example that glyph-clip gets right before the attack and wrong after it."""
    return next(one for one in examples(served) if one.shows == "chess bishop")


@pytest.fixture
def saved(tmp_path):
    """Writes an image, and returns its path."""

    def write(image, name="picture.png", **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.fixture
def noise():
    """An image of random pixels."""

    def make(width, height, channels=3):
        shape = (height, width, channels) if channels > 1 else (height, width)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def form(bishop, saved):
    """What the page sends for that example, but for what is named."""

    def make(**changed):
        path = saved(bishop.image, "bishop.png")
        given = {
            "image": {"path": str(path), "orig_name": "bishop.png"},
            "class_names": "\n".join(bishop.class_names),
            "eps": "4/255",
            "steps": 5,
            "target": "",
        }
        return FormValues(**(given | changed))

    return make


@pytest.fixture
def solid():
    """An image of one colour."""
    return lambda width, height, mode="RGB", colour="red": Image.new(mode, (width, height), colour)
