"""Sets of class folders that torchvision knows too: ours must list what torchvision lists."""

import shutil
from pathlib import Path

import pytest
from torchvision import datasets

from zsrobust.data.names import published_spellings
from zsrobust.data.registry import open_set
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError


@pytest.fixture
def eurosat(miniature) -> Path:
    return miniature("eurosat", 3).parents[1]


@pytest.fixture
def caltech101(miniature) -> Path:
    return miniature("caltech101", 2).parents[1]


@pytest.fixture
def caltech256(miniature) -> Path:
    return miniature("caltech256").parents[1]


@pytest.fixture
def country211(tmp_path: Path, write_flat) -> Path:
    for split in ("train", "valid", "test"):
        for label, code in enumerate(sorted(published_spellings("country211"))):
            write_flat(tmp_path / f"country211/{split}/{code}/{split}1.jpg", label)
    return tmp_path


def listed(pairs, base: Path) -> dict[str, int]:
    return {Path(path).relative_to(base).as_posix(): int(label) for path, label in pairs}


def test_eurosat(eurosat: Path, agrees) -> None:
    ours = open_set(f"eurosat:{eurosat},split=all", "test")
    theirs = datasets.EuroSAT(eurosat)
    expected = listed(theirs.samples, eurosat / "eurosat/2750")
    assert dict(zip(ours.sample_ids, ours.labels, strict=True)) == expected
    assert agrees(ours, ours.labels, every=4)
    by_folder = {i.split("/")[0]: ours.class_names[n] for i, n in expected.items()}
    assert by_folder["SeaLake"] == "lake or sea"
    assert by_folder["HerbaceousVegetation"] == "brushland or shrubland"
    assert ours.templates == ("A centered satellite photo of {}.",)
    assert len(open_set(f"eurosat:{eurosat}", "test")) == 6
    assert len(open_set(f"eurosat:{eurosat}", "train")) == 24


def test_caltech101(caltech101: Path, agrees) -> None:
    ours = open_set(f"caltech101:{caltech101},split=all", "test")
    theirs = datasets.Caltech101(caltech101)
    names = [
        f"{theirs.categories[label]}/image_{number:04d}.jpg"
        for label, number in zip(theirs.y, theirs.index, strict=True)
    ]
    assert dict(zip(ours.sample_ids, ours.labels, strict=True)) == dict(
        zip(names, theirs.y, strict=True)
    )
    assert agrees(ours, ours.labels, every=23)
    assert ours.class_names[theirs.categories.index("Faces_easy")] == "centered face"
    for place in ("caltech101", "caltech101/101_ObjectCategories"):
        again = open_set(f"caltech101:{caltech101 / place},split=all", "test")
        assert again.sample_ids == ours.sample_ids


def test_the_real_caltech101(shared_data) -> None:
    images = open_set(f"caltech101:{shared_data('caltech101')},split=all", "test")
    assert len(images) == 404
    of = dict(zip(images.sample_ids, images.labels, strict=True))
    for path, label in of.items():
        if path.split("/")[0] in ("accordion", "anchor", "ant", "pizza", "umbrella"):
            assert images.class_names[label] == path.split("/")[0]
    assert verify(images, "stop")[1] == []


def test_caltech256(caltech256: Path, agrees) -> None:
    ours = open_set(f"caltech256:{caltech256},split=all", "test")
    theirs = datasets.Caltech256(caltech256)
    assert list(ours.labels) == theirs.y
    assert [int(i.split("/")[1][:3]) - 1 for i in ours.sample_ids] == theirs.y
    assert agrees(ours, ours.labels, every=31)
    assert ours.class_names[theirs.categories.index("015.bonsai-101")] == "bonsai"
    assert ours.class_names[theirs.categories.index("225.tower-pisa")] == "Tower of Pisa"


def test_country211(country211: Path, agrees) -> None:
    ours = open_set(f"country211:{country211},split=valid", "test")
    theirs = datasets.Country211(country211, split="valid")
    expected = listed(theirs.samples, country211 / "country211")
    assert dict(zip(ours.sample_ids, ours.labels, strict=True)) == expected
    assert agrees(ours, ours.labels, every=29)
    assert ours.class_names[theirs.class_to_idx["CH"]] == "Switzerland"
    assert ours.class_names[theirs.class_to_idx["ZW"]] == "Zimbabwe"


def test_a_missing_class_is_refused(caltech256: Path) -> None:
    shutil.rmtree(caltech256 / "caltech256/256_ObjectCategories/020.brain-101")
    with pytest.raises(RequestError, match=r"lacks images of 1 of its 257 classes.*020.brain-101"):
        open_set(f"caltech256:{caltech256}", "test")


def test_a_class_without_images_is_refused(eurosat: Path) -> None:
    for path in (eurosat / "eurosat/2750/Pasture").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(RequestError, match=r"lacks images of 1 of its 10 classes, first Pasture"):
        open_set(f"eurosat:{eurosat}", "test")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "truncated"),
        (lambda path: path.write_bytes(b""), "not an image that Pillow knows"),
        (lambda path: path.write_text("<html>404</html>"), "not an image that Pillow knows"),
    ],
)
def test_a_damaged_image_is_named_before_any_work(eurosat: Path, damage, message: str) -> None:
    path = eurosat / "eurosat/2750/River/River_2.jpg"
    damage(path)
    with pytest.raises(
        RequestError, match=r"1 of 30 images of eurosat/all are unreadable"
    ) as caught:
        verify(open_set(f"eurosat:{eurosat},split=all", "test"), "stop")
    assert str(path) in str(caught.value)
    assert message.lower() in str(caught.value).lower()


def test_an_image_of_another_format_than_its_ending_is_read(eurosat: Path, write_flat) -> None:
    path = eurosat / "eurosat/2750/River/River_2.jpg"
    write_flat(path.with_suffix(".png"), 8).rename(path)
    assert verify(open_set(f"eurosat:{eurosat},split=all", "test"), "stop")[1] == []


def test_an_image_past_pillows_limit_is_named(eurosat: Path, monkeypatch) -> None:
    from PIL import Image

    path = eurosat / "eurosat/2750/Forest/Forest_1.jpg"
    Image.new("L", (200, 200)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(RequestError, match=r"Forest_1.jpg: Image size \(40000 pixels\) exceeds"):
        verify(open_set(f"eurosat:{eurosat},split=all", "test"), "stop")


def test_a_path_of_any_language_opens(eurosat: Path) -> None:
    target = eurosat.with_name("données, 数据")
    eurosat.rename(target)
    images = open_set(f"eurosat:{target},split=all", "test")
    assert verify(images, "stop")[1] == []
    assert "数据" in images.where(0)
