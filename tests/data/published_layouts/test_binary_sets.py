"""Sets in one file of many images: STL-10's binaries and PatchCamelyon's HDF5."""

import hashlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from zsrobust.data.loading import attack_resolution
from zsrobust.data.registry import open_set
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError

NAMES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]


@pytest.fixture
def stl10(tmp_path: Path, monkeypatch) -> Path:
    return write_stl10(tmp_path, monkeypatch, [10, 1, 6])


def write_stl10(root: Path, monkeypatch, labels: list[int]) -> Path:
    """Planes of 96 x 96 bytes, red first, each column by column; labels from 1."""
    base = root / "stl10_binary"
    base.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (len(labels), 96, 96, 3), np.uint8)
    np.save(root / "pixels.npy", pixels)
    files = {
        "test_X.bin": pixels.transpose(0, 3, 2, 1).tobytes(),
        "test_y.bin": bytes(labels),
        "train_X.bin": pixels[:1].transpose(0, 3, 2, 1).tobytes(),
        "train_y.bin": bytes(labels[:1]),
        "unlabeled_X.bin": b"",
        "class_names.txt": "\n".join(NAMES).encode() + b"\n",
    }
    for name, content in files.items():
        (base / name).write_bytes(content)
    for attribute in ("train_list", "test_list"):
        known = [
            [name, hashlib.md5(files[name]).hexdigest()]
            for name, _ in getattr(datasets.STL10, attribute)
        ]
        monkeypatch.setattr(datasets.STL10, attribute, known)
    return base


def test_stl10(stl10: Path) -> None:
    test = open_set(f"stl10:{stl10.parent}", "test")
    assert [test.class_names[label] for label in test.labels] == ["truck", "airplane", "dog"]
    assert (test.native_size, attack_resolution(test, 224)) == (96, 96)
    pixels = np.load(stl10.parent / "pixels.npy")
    for index in range(3):
        np.testing.assert_array_equal(np.asarray(test.read_rgb(index)), pixels[index])
    assert len(open_set(f"stl10:{stl10}", "train")) == 1


def test_stl10_of_another_checksum_is_refused(stl10: Path) -> None:
    (stl10 / "test_y.bin").write_bytes(bytes([10, 1, 7]))
    with pytest.raises(RequestError, match=r"stl10/test in .* cannot be read"):
        open_set(f"stl10:{stl10}", "test")


@pytest.mark.parametrize("label", [0, 11])
def test_stl10_of_a_label_out_of_range_is_refused(tmp_path: Path, monkeypatch, label: int) -> None:
    base = write_stl10(tmp_path, monkeypatch, [10, label])
    with pytest.raises(RequestError, match=r"gives sample 1 the label \d+, where 0 to 9"):
        open_set(f"stl10:{base}", "test")


@pytest.fixture
def pcam(tmp_path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    base = tmp_path / "pcam"
    base.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (5, 96, 96, 3), np.uint8)
    with h5py.File(base / "camelyonpatch_level_2_split_test_x.h5", "w") as file:
        file["x"] = pixels
    with h5py.File(base / "camelyonpatch_level_2_split_test_y.h5", "w") as file:
        file["y"] = np.array([0, 1, 1, 0, 1], np.uint8).reshape(5, 1, 1, 1)
    np.save(tmp_path / "pixels.npy", pixels)
    return base


def test_pcam(pcam: Path) -> None:
    test = open_set(f"pcam:{pcam.parent}", "test")
    assert list(test.labels) == [0, 1, 1, 0, 1]
    assert test.class_names == ("healthy lymph node tissue", "lymph node tumor tissue")
    assert test.templates == ("This is a photo of {}.",)
    assert attack_resolution(test, 224) == 224
    pixels = np.load(pcam.parent / "pixels.npy")
    # A loader process gets the set pickled.
    sent = pickle.loads(pickle.dumps(test))
    for index in (4, 0):
        np.testing.assert_array_equal(np.asarray(sent.read_rgb(index)), pixels[index])
    assert verify(test, "stop")[1] == []


def test_pcam_with_fewer_labels_than_images_is_refused(pcam: Path) -> None:
    import h5py

    with h5py.File(pcam / "camelyonpatch_level_2_split_test_y.h5", "w") as file:
        file["y"] = np.zeros((4, 1, 1, 1), np.uint8)
    with pytest.raises(RequestError, match=r"holds pixels \(5, 96, 96, 3\) for 4 labels"):
        open_set(f"pcam:{pcam}", "test")


def test_a_cut_off_pcam_is_refused(pcam: Path) -> None:
    path = pcam / "camelyonpatch_level_2_split_test_x.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RequestError, match=r"pcam/test in .* cannot be read"):
        open_set(f"pcam:{pcam}", "test")


def test_pcam_without_h5py_says_what_to_install(pcam: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(RequestError, match=r"h5py: pip install 'zsrobust\[pcam\]'"):
        open_set(f"pcam:{pcam}", "test")
