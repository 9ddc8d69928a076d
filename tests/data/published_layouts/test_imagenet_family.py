"""ImageNet as class folders and as Kaggle's ILSVRC, and the sets made after it."""

import shutil
from pathlib import Path

import pytest

from zsrobust.data.names import wordnet_ids
from zsrobust.data.published.miniature import write_miniature
from zsrobust.data.published.sets import MINIATURE
from zsrobust.data.registry import open_set
from zsrobust.utils.errors import RequestError

CRANE_BIRD, CRANE = "n02012849", "n03126707"


@pytest.fixture(scope="module")
def class_folders(tmp_path_factory) -> Path:
    """``val/<wnid>/ILSVRC2012_val_<number>.JPEG``, one image a class, numbered backwards."""
    base = write_miniature("imagenet", tmp_path_factory.mktemp("sets"))
    (base / MINIATURE).unlink()
    return base


def test_class_folders(class_folders: Path, agrees) -> None:
    val = open_set(f"imagenet:{class_folders}", "test")
    assert (val.name, val.split, len(val)) == ("imagenet", "val", 1000)
    assert agrees(val, range(1000), every=97)
    label = dict(zip((i.split("/")[1] for i in val.sample_ids), val.labels, strict=True))
    assert val.class_names[label["n01440764"]] == "tench"
    assert val.class_names[label[CRANE_BIRD]] == "crane bird"
    assert val.class_names[label[CRANE]] == "construction crane"
    assert len(set(val.class_names)) == 1000


def test_a_part_of_the_classes_is_refused(tmp_path: Path, write_flat) -> None:
    write_flat(tmp_path / "val/n01440764/a.JPEG", 0)
    with pytest.raises(
        RequestError, match=r"lacks images of 999 of its 1000 classes.*imagefolder:"
    ):
        open_set(f"imagenet:{tmp_path}", "test")


def test_another_set_of_the_family_is_refused(class_folders: Path) -> None:
    """ImageNet has every folder that ImageNet-A has."""
    with pytest.raises(
        RequestError, match=r"has 800 folders that are none of the set's 200 classes"
    ):
        open_set(f"imagenet-a:{class_folders / 'val'}", "test")


def test_training_images_that_are_not_there(class_folders: Path) -> None:
    with pytest.raises(RequestError, match=r"no folder train: put ImageNet's train images there"):
        open_set(f"imagenet:{class_folders}", "train")


def annotation(wnid: str) -> str:
    return (
        "<annotation><folder>val</folder><size><width>8</width></size>"
        f"<object><name>{wnid}</name><bndbox><xmin>1</xmin></bndbox></object>"
        "<object><name>n01440764</name></object></annotation>"
    )


@pytest.fixture
def kaggle(tmp_path: Path, write_flat) -> Path:
    wnids = wordnet_ids("imagenet")
    for number, label in enumerate([999, 0, 134], start=1):
        name = f"ILSVRC2012_val_{number:08d}"
        write_flat(tmp_path / f"ILSVRC/Data/CLS-LOC/val/{name}.JPEG", label)
        file = tmp_path / f"ILSVRC/Annotations/CLS-LOC/val/{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(annotation(wnids[label]))
    return tmp_path


def test_a_flat_folder_takes_labels_from_the_annotations(kaggle: Path, agrees) -> None:
    assert agrees(open_set(f"imagenet:{kaggle}", "test"), [999, 0, 134])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "cannot read the annotation .*00000002.xml"),
        (annotation("n99999999"), "names 'n99999999', which is not one of ImageNet's 1,000"),
        ("<annotation></annotation>", "names None"),
        (None, "cannot read the annotation .*No such file"),
    ],
)
def test_a_wrong_annotation_is_named(kaggle: Path, text: str | None, message: str) -> None:
    file = kaggle / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(RequestError, match=message):
        open_set(f"imagenet:{kaggle}", "test")


def test_a_flat_folder_without_annotations_is_refused(kaggle: Path) -> None:
    shutil.rmtree(kaggle / "ILSVRC/Annotations")
    with pytest.raises(RequestError, match=r"is flat and .* so its images have no labels"):
        open_set(f"imagenet:{kaggle}", "test")


@pytest.mark.parametrize(
    ("kind", "folder", "classes"),
    [
        ("imagenet-a", "imagenet-a", 200),
        ("imagenet-r", "imagenet-r", 200),
        ("imagenet-o", "imagenet-o", 200),
        ("imagenet-sketch", "sketch", 1000),
    ],
)
def test_relatives(tmp_path: Path, write_flat, agrees, kind, folder: str, classes: int) -> None:
    wnids = sorted(wordnet_ids(kind))
    assert len(wnids) == classes
    for label, wnid in enumerate(wnids):
        write_flat(tmp_path / folder / wnid / "0.012_dog _ cat_0.9.jpg", label)
    (tmp_path / folder / "README.txt").write_text("as published")
    found = open_set(f"{kind}:{tmp_path}", "test")
    assert agrees(found, range(classes), every=37)
    # Names are those of the same class of ImageNet.
    from zsrobust.data.names import imagenet_names

    assert found.class_names == tuple(imagenet_names()[wnid] for wnid in wnids)
    assert open_set(f"{kind}:{tmp_path / folder}", "test").sample_ids == found.sample_ids


def test_the_parts_are_those_of_timm() -> None:
    from importlib import resources

    for kind, name in (("imagenet-a", "imagenet_a"), ("imagenet-r", "imagenet_r")):
        text = resources.files("timm.data").joinpath(f"_info/{name}_synsets.txt").read_text()
        assert sorted(text.split()) == list(wordnet_ids(kind))
    assert set(wordnet_ids("imagenet-o")) < set(wordnet_ids("imagenet"))


def test_v2_has_folders_of_numbers_in_the_order_of_numbers(
    tmp_path: Path, write_flat, agrees
) -> None:
    base = tmp_path / "imagenetv2-matched-frequency-format-val"
    for label in range(1000):
        write_flat(base / str(label) / "7e1f.jpeg", label)
    found = open_set(f"imagenet-v2:{tmp_path}", "test")
    assert agrees(found, range(1000), every=97)
    assert found.sample_ids[10] == "10/7e1f.jpeg"
    assert found.class_names[10] == "brambling"
