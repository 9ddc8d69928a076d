import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from zsrobust.data.cifar import cifar
from zsrobust.utils.errors import RequestError

TEN = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def dump(path: Path, content: dict) -> tuple[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))
    return path.name, hashlib.md5(path.read_bytes()).hexdigest()


def rows(n: int, seed: int) -> np.ndarray:
    """Images as CIFAR stores them: 3072 bytes, the red plane first."""
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), np.uint8)


@pytest.fixture
def cifar10_root(tmp_path: Path, monkeypatch) -> Path:
    """Python batches in the published format; torchvision is told their checksums."""
    folder = tmp_path / "cifar-10-batches-py"
    train = [
        dump(folder / f"data_batch_{b}", {"data": rows(4, b), "labels": [b, 0, 9, 3]})
        for b in range(1, 6)
    ]
    test = [dump(folder / "test_batch", {"data": rows(3, 9), "labels": [3, 8, 8]})]
    name, checksum = dump(folder / "batches.meta", {"label_names": TEN})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [list(entry) for entry in train])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [list(entry) for entry in test])
    meta = {"filename": name, "key": "label_names", "md5": checksum}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    return tmp_path


@pytest.fixture
def cifar100_root(tmp_path: Path, monkeypatch) -> Path:
    folder = tmp_path / "cifar-100-python"
    names = [f"class_{label:03}" for label in range(99)] + ["aquarium_fish"]
    entry = {"fine_labels": [99, 0], "coarse_labels": [1, 1]}
    train = [dump(folder / "train", {"data": rows(2, 1), **entry})]
    test = [dump(folder / "test", {"data": rows(2, 2), **entry})]
    name, checksum = dump(folder / "meta", {"fine_label_names": names})
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [list(entry) for entry in train])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [list(entry) for entry in test])
    meta = {"filename": name, "key": "fine_label_names", "md5": checksum}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    return tmp_path


def test_cifar10_test_split(cifar10_root: Path) -> None:
    test = cifar(10, cifar10_root, "test")
    assert (test.name, test.split, test.native_size) == ("cifar10", "test", 32)
    assert test.class_names == tuple(TEN)
    assert test.sample_ids == ("0", "1", "2")
    assert test.labels == (3, 8, 8)
    planes = rows(3, 9)[1].reshape(3, 32, 32)
    assert (np.asarray(test.read_rgb(1)).transpose(2, 0, 1) == planes).all()


def test_cifar10_train_split_in_batch_order(cifar10_root: Path) -> None:
    train = cifar(10, cifar10_root, "train")
    assert train.labels == tuple(label for b in range(1, 6) for label in (b, 0, 9, 3))


def test_the_extracted_folder_itself_will_do(cifar10_root: Path) -> None:
    assert len(cifar(10, cifar10_root / "cifar-10-batches-py", "test")) == 3


def test_cifar100_fine_labels_and_cleaned_names(cifar100_root: Path) -> None:
    test = cifar(100, cifar100_root, "test")
    assert (test.name, test.native_size, test.labels) == ("cifar100", 32, (99, 0))
    assert test.class_names[99] == "aquarium fish"
    assert test.class_names[7] == "class 007"


@pytest.mark.parametrize(("classes", "kind"), [(10, "CIFAR10"), (100, "CIFAR100")])
def test_absent_data_names_place_and_command(tmp_path: Path, classes: int, kind: str) -> None:
    with pytest.raises(RequestError) as caught:
        cifar(classes, tmp_path, "test")
    folder = tmp_path / ("cifar-10-batches-py" if classes == 10 else "cifar-100-python")
    assert str(folder) in str(caught.value)
    command = f"torchvision.datasets.{kind}({str(tmp_path)!r}, download=True)"
    assert command in str(caught.value)


def test_a_damaged_batch_is_refused(cifar10_root: Path) -> None:
    path = cifar10_root / "cifar-10-batches-py/test_batch"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match="not intact"):
        cifar(10, cifar10_root, "test")
