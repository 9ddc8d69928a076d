"""The sets in miniature: every class is there, and image, label and name belong together."""

import time
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from zsrobust.data.published.miniature import level_of, taken_for_published, write_miniature
from zsrobust.data.published.sets import SYNTHETIC, paper_sets, published_sets
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError

KINDS = [known.kind for known in paper_sets()]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    pytest.importorskip("h5py")
    root = tmp_path_factory.mktemp("miniature")
    began = time.monotonic()
    for kind in KINDS:
        write_miniature(kind, root, per_class=2)
    assert time.monotonic() - began < 60
    assert sum(file.stat().st_size for file in root.rglob("*") if file.is_file()) < 50e6
    return root


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("role", ["train", "test"])
def test_every_class_has_its_images(root: Path, kind: str, role) -> None:
    known = published_sets()[kind]
    split = getattr(known, role)
    if (kind, role) == ("imagenet", "train"):
        pytest.skip("only val is written")
    own = known.own_split
    spec = f"{kind}:{root / kind}" + (",split=all" if own else "")
    with taken_for_published(root):
        images = opening(spec, role)()
    assert images.split == ("all" if own else split)
    # trainval of FGVC-Aircraft is both of its other splits.
    each = 4 if (kind, split) == ("fgvc-aircraft", "trainval") else 2
    assert np.bincount(images.labels).tolist() == [each] * known.classes
    assert verify(images, "stop")[1] == []
    for index in range(0, len(images), 1 + len(images) // 20):
        level = float(np.asarray(images.read_rgb(index)).mean())
        assert abs(level - level_of(images.labels[index])) < 2.5
    assert any(SYNTHETIC in note for note in images.notes)


def test_labels_are_those_of_torchvisions_own_lists(root: Path) -> None:
    """Levels tell the label that the files mean from the one that a reader gives."""
    theirs = datasets.OxfordIIITPet(root / "oxford-pets", split="test")
    (label,) = {theirs[i][1] for i in range(74) if "pug" in theirs._images[i].name}
    assert theirs.classes[label] == "Pug"
    pug = np.asarray(next(i for i, y in theirs if y == label)).mean()
    assert abs(float(pug) - level_of(label)) < 2.5


def test_splits_do_not_share_images(root: Path) -> None:
    for kind in ("food101", "stl10", "pcam"):
        with taken_for_published(root):
            sets = [opening(f"{kind}:{root / kind}", role)() for role in ("train", "test")]
        pixels = [np.asarray(one.read_rgb(0)) for one in sets]
        assert not np.array_equal(*pixels)


def test_the_suite_of_the_paper_finds_all_sixteen(root: Path) -> None:
    assert len(expand([f"paper16:{root}"])) == 16


@pytest.mark.parametrize("kind", ["cifar10", "cifar100", "flowers102", "stl10"])
def test_they_pass_for_published_inside_the_block_alone(root: Path, kind: str) -> None:
    spec = f"{kind}:{root / kind}"
    with pytest.raises(RequestError, match=r"not intact|cannot be read"):
        opening(spec, "test")()
    with taken_for_published(root):
        opening(spec, "test")()
    with pytest.raises(RequestError, match=r"not intact|cannot be read"):
        opening(spec, "test")()


def test_a_changed_file_is_refused_inside_the_block_too(tmp_path: Path) -> None:
    base = write_miniature("stl10", tmp_path)
    with taken_for_published(tmp_path):
        (base / "test_y.bin").write_bytes(bytes([1] * 10))
        with pytest.raises(RequestError, match="cannot be read"):
            opening(f"stl10:{base}", "test")()
