"""A small CLIP in the format open_clip pushes to the hub, small image sets, and a browser."""

import os
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import open_clip
import pytest
import torch
from open_clip.push_to_hf_hub import save_for_hf
from PIL import Image
from tests.loopback_hub import LoopbackHub
from torch import nn

from zsrobust.models import hub as hub_files
from zsrobust.models import text_side
from zsrobust.models.zero_shot import ZeroShotClassifier

ANSWERS = hub_files._answers

COLOURS = {
    **{"red": (210, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 210)},
    **{"yellow": (200, 190, 30), "grey": (120, 120, 120), "white": (230, 230, 230)},
}

SMALL_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


SLOW = {"browser", "processes"}
"""Fixtures whose tests take seconds: they start a browser, or several processes."""


def pytest_configure(config):
    if hasattr(config, "workerinput"):
        # Several processes share the cores; those that a test starts inherit the setting.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def pytest_collection_modifyitems(items):
    for item in items:
        if not SLOW.isdisjoint(item.fixturenames):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """A cache of the test's own, never the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZSROBUST_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    """The name of a small random CLIP: 32 px, 24 dimensions; any process can load it."""

    class CLIPTokenizer:
        def save_pretrained(self, folder): ...

    folder = tmp_path_factory.mktemp("models") / "small-clip"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setitem(open_clip.factory._MODEL_CONFIGS, "small-clip", SMALL_CLIP)
        model = open_clip.create_model("small-clip").eval()
        # Random towers give nearly the same embedding to every image; a larger head spreads them.
        with torch.no_grad():
            model.visual.proj.mul_(3)
        save_for_hf(model, CLIPTokenizer(), SMALL_CLIP, str(folder), True)
    return f"local-dir:{folder}"


@pytest.fixture
def loopback_hub(tmp_path, monkeypatch):
    """A hub on this machine, which huggingface_hub and this package ask here, without waiting."""
    with LoopbackHub(tmp_path / "hub") as hub:
        hub.use(monkeypatch, tmp_path / "hub-cache")
        monkeypatch.setattr(hub_files, "_answers", ANSWERS)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield hub


@pytest.fixture
def another_processor(monkeypatch):
    """Call it, and class vectors come with other last bits, as they do elsewhere."""

    def move():
        encode = text_side.class_vectors

        def elsewhere(*prompts):
            vectors = encode(*prompts)
            return torch.nextafter(vectors, torch.zeros_like(vectors))

        monkeypatch.setattr(text_side, "class_vectors", elsewhere)

    return move


class SmallNet(nn.Module):
    """A convolutional encoder with BatchNorm, 3 channels to 6 dimensions, any image size."""

    def __init__(self, batch_norm=True):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8) if batch_norm else nn.Identity(),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 6),
        )

    def forward(self, images):
        return self.body(images)


@pytest.fixture
def classifier():
    """A zero-shot classifier of 5 classes over ``SmallNet``, weights from a fixed seed."""

    def make(batch_norm=True, logit_scale=20.0):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            encoder = SmallNet(batch_norm).eval()
            # Centred, so that random images fall into every class.
            with torch.no_grad():
                encoder.body[5].bias.sub_(encoder(torch.rand(256, 3, 6, 6)).mean(0))
            encoder.train()
            vectors = torch.randn(5, 6)
        names = [f"class {index}" for index in range(5)]
        return ZeroShotClassifier.from_parts(encoder, vectors, names, logit_scale=logit_scale)

    return make


@pytest.fixture
def samples():
    """n random images of 3 x 6 x 6 with labels in 0..4 and ids."""

    def make(n=8, seed=0):
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(n, 3, 6, 6, generator=generator)
        labels = torch.randint(5, (n,), generator=generator)
        return images, labels, [f"sample {index}" for index in range(n)]

    return make


@pytest.fixture
def processes():
    """Runs Python with ``argv`` in n processes of one group on this machine, one thread each."""

    def run(n, *argv):
        launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={n}"]
        launch += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1"]
        return subprocess.run(
            [*launch, *argv],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run


@pytest.fixture
def two_processes(processes):
    """The same in two."""
    return partial(processes, 2)


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


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, driven by playwright."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        # Chromium's sandbox does not start for root, as in containers.
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()
