import shutil
from collections import Counter
from pathlib import Path

import pytest

from zsrobust.data.tiny_imagenet import tiny_imagenet
from zsrobust.utils.errors import RequestError

GOLDFISH, MAU, BEACH = "n01443537", "n02124075", "n09428293"
NAMES = ("goldfish", "egyptian mau", "beach")


def annotations(root: Path) -> dict[str, str]:
    lines = (root / "val/val_annotations.txt").read_text().splitlines()
    return {line.split("\t")[0]: line.split("\t")[1] for line in lines}


def test_train_labels_follow_sorted_wnids(tiny_root: Path) -> None:
    train = tiny_imagenet(tiny_root, "train")
    assert (train.name, train.split, len(train)) == ("tiny-imagenet", "train", 9)
    assert train.class_names == NAMES
    assert train.sample_ids[0] == f"train/{GOLDFISH}/images/{GOLDFISH}_0.JPEG"
    for sample_id, label in zip(train.sample_ids, train.labels, strict=True):
        assert (GOLDFISH, MAU, BEACH)[label] in sample_id


def test_labels_equal_torchvisions_image_folder(tiny_root: Path) -> None:
    from torchvision.datasets import ImageFolder

    train = tiny_imagenet(tiny_root, "train")
    theirs = ImageFolder(str(tiny_root / "train"))
    expected = {Path(p).relative_to(tiny_root).as_posix(): label for p, label in theirs.samples}
    assert dict(zip(train.sample_ids, train.labels, strict=True)) == expected


def test_flat_val_takes_labels_from_the_annotations(tiny_root: Path) -> None:
    val = tiny_imagenet(tiny_root, "val")
    expected = annotations(tiny_root)
    assert len(val) == len(expected) == 6
    assert val.class_names == NAMES
    for sample_id, label in zip(val.sample_ids, val.labels, strict=True):
        folder, name = sample_id.rsplit("/", 1)
        assert folder == "val/images"
        assert (GOLDFISH, MAU, BEACH)[label] == expected[name]


@pytest.mark.parametrize("inside", ["", "images"])
@pytest.mark.parametrize("leftovers", [True, False])
def test_val_sorted_into_class_folders(tiny_root: Path, inside: str, leftovers: bool) -> None:
    expected = annotations(tiny_root)
    for name, wnid in expected.items():
        target = tiny_root / "val" / wnid / inside
        target.mkdir(parents=True, exist_ok=True)
        (tiny_root / "val/images" / name).rename(target / name)
    if not leftovers:
        (tiny_root / "val/images").rmdir()
        (tiny_root / "val/val_annotations.txt").unlink()
    val = tiny_imagenet(tiny_root, "val")
    found = zip(val.sample_ids, val.labels, strict=True)
    assert {i.rsplit("/", 1)[1]: (GOLDFISH, MAU, BEACH)[label] for i, label in found} == expected


def test_without_wnids_the_training_folders_are_the_classes(tiny_root: Path) -> None:
    (tiny_root / "wnids.txt").unlink()
    assert tiny_imagenet(tiny_root, "val").class_names == NAMES


def remove_train(root: Path) -> None:
    shutil.rmtree(root / "train")


def remove_classes(root: Path) -> None:
    remove_train(root)
    (root / "wnids.txt").unlink()


def empty_class(root: Path) -> None:
    shutil.rmtree(root / "train" / MAU / "images")


def remove_annotations(root: Path) -> None:
    (root / "val/val_annotations.txt").unlink()


def remove_val_image(root: Path) -> None:
    (root / "val/images/val_3.JPEG").unlink()


def add_val_image(root: Path) -> None:
    shutil.copy(root / "val/images/val_3.JPEG", root / "val/images/val_99.JPEG")


def spoil_annotations(root: Path) -> None:
    path = root / "val/val_annotations.txt"
    path.write_text(path.read_text().replace("val_1.JPEG\t", "val_1.JPEG "), encoding="utf-8")
    path.write_text(path.read_text().replace("\t0\t32\t44\t62", ""), encoding="utf-8")


def unlisted_class(root: Path) -> None:
    (root / "wnids.txt").write_text(f"{MAU}\n{GOLDFISH}\n")


def foreign_class(root: Path) -> None:
    (root / "wnids.txt").write_text("n00000000\n")


@pytest.mark.parametrize(
    ("damage", "split", "message"),
    [
        (remove_train, "train", "has no folder train"),
        (remove_classes, "val", "neither wnids.txt nor train"),
        (empty_class, "train", f"{MAU} holds no images"),
        (remove_annotations, "val", "val_annotations.txt is missing"),
        (remove_val_image, "val", "differ in 1 images, first val/images/val_3.JPEG"),
        (add_val_image, "val", "differ in 1 images, first val/images/val_99.JPEG"),
        (spoil_annotations, "val", "val_annotations.txt line 2 must be"),
        (unlisted_class, "train", f"images of class {BEACH}"),
        (unlisted_class, "val", f"images of class {BEACH}"),
        (foreign_class, "val", "class n00000000, which is not one of"),
    ],
)
def test_another_layout_is_refused(tiny_root: Path, damage, split: str, message: str) -> None:
    damage(tiny_root)
    with pytest.raises(RequestError, match=message):
        tiny_imagenet(tiny_root, split)


def test_the_real_one(shared_data) -> None:
    root = shared_data("tiny-imagenet-200")
    train, val = tiny_imagenet(root, "train"), tiny_imagenet(root, "val")
    assert len(train) == len(list(root.glob("train/*/images/*.JPEG")))
    assert len(val) == 2000
    assert len(set(train.class_names)) == 200
    assert set(Counter(train.labels).values()) == {len(train) // 200}
    assert set(Counter(val.labels).values()) == {10}
    assert train.class_names == val.class_names
    assert val.read_rgb(0).size == (64, 64)
