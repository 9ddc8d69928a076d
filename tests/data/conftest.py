"""Data sets written in the exact layouts of the real ones, small enough for every run."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import ArrayReader

SHARED = Path(__file__).parents[2] / "../shared/data"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, never the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ZSROBUST_CACHE", str(folder))
    return folder


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    def locate(name: str) -> Path:
        path = SHARED / name
        if not path.is_dir():
            pytest.skip(f"the real images of {name} are not on this machine")
        return path

    return locate


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Writes an image of random pixels; the file's suffix decides the format."""

    def write(path: Path, size: tuple[int, int] = (12, 10), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def memory_set() -> Callable[..., ImageSet]:
    """A set in memory with the given labels; image i is one flat grey of level i."""

    def make(labels: Sequence[int], size: int = 8, ids: Sequence[str] | None = None) -> ImageSet:
        pixels = np.empty((len(labels), size, size), np.uint8)
        pixels[:] = (np.arange(len(labels)) % 256).reshape(-1, 1, 1)
        return ImageSet(
            name="memory",
            split="test",
            class_names=tuple(f"class {label}" for label in range(max(labels, default=0) + 1)),
            sample_ids=tuple(ids) if ids else tuple(f"sample-{i}" for i in range(len(labels))),
            labels=tuple(labels),
            read_image=ArrayReader(pixels),
        )

    return make


WNIDS = ("n02124075", "n01443537", "n09428293")
"""Egyptian Mau, goldfish and beach: out of sorted order, as the published wnids.txt is."""


@pytest.fixture
def tiny_root(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """TinyImageNet's published layout with 3 classes, 3 training and 2 validation images each."""
    root = tmp_path / "tiny-imagenet-200"
    rows = []
    for c, wnid in enumerate(WNIDS):
        for i in range(3):
            write_image(root / f"train/{wnid}/images/{wnid}_{i}.JPEG", (64, 64), seed=10 * c + i)
        boxes = "".join(f"{wnid}_{i}.JPEG\t0\t0\t62\t62\n" for i in range(3))
        (root / f"train/{wnid}/{wnid}_boxes.txt").write_text(boxes)
        for i in range(2):
            number = 2 * c + i
            write_image(root / f"val/images/val_{number}.JPEG", (64, 64), seed=100 + number)
            rows.append(f"val_{number}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val/val_annotations.txt").write_text("".join(rows))
    (root / "wnids.txt").write_text("\n".join(WNIDS) + "\n")
    return root


@pytest.fixture
def folder_root(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """Class folders: two cats (one nested) and one dog."""
    root = tmp_path / "pets"
    write_image(root / "tabby_Cat/a.png", seed=1)
    write_image(root / "tabby_Cat/more/b.JPG", seed=2)
    write_image(root / "dog/c.jpeg", seed=3)
    return root
