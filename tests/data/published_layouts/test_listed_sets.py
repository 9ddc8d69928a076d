"""Sets whose splits are lists: JSON, text, and MATLAB files beside folders of images."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets

from zsrobust.data.names import published_spellings
from zsrobust.data.registry import open_set
from zsrobust.utils.errors import RequestError


@pytest.fixture
def food101(miniature) -> Path:
    return miniature("food101")


def test_food101(food101: Path, agrees) -> None:
    test = open_set(f"food101:{food101.parent}", "test")
    assert (test.name, test.split, len(test), test.native_size) == ("food101", "test", 101, None)
    labels = [
        sorted(published_spellings("food101")).index(i.split("/")[1]) for i in test.sample_ids
    ]
    assert agrees(test, labels, every=9)
    first = test.sample_ids.index("images/apple_pie/1001.jpg")
    assert test.class_names[test.labels[first]] == "apple pie"
    cupcakes = test.sample_ids.index("images/cup_cakes/1001.jpg")
    assert test.class_names[test.labels[cupcakes]] == "cupcakes"
    assert test.templates == ("A photo of {}, a type of food.",)
    # PATH may be the set's own folder.
    assert open_set(f"food101:{food101}", "train").sample_ids[0].endswith("/1000.jpg")


def test_food101_without_a_class_is_refused(food101: Path) -> None:
    listing = food101 / "meta/test.json"
    listed = json.loads(listing.read_text())
    del listed["waffles"]
    listing.write_text(json.dumps(listed))
    with pytest.raises(RequestError, match=r"not the published 101.*lack 'waffles'"):
        open_set(f"food101:{food101}", "test")


def test_a_cut_off_list_is_refused(food101: Path) -> None:
    listing = food101 / "meta/test.json"
    listing.write_text(listing.read_text()[:-40])
    with pytest.raises(RequestError, match=r"food101/test in .* cannot be read \(.*food-101/meta"):
        open_set(f"food101:{food101}", "test")


def test_dtd(miniature, agrees) -> None:
    val = open_set(f"dtd:{miniature('dtd').parent},split=val", "test")
    # In the order of the list, which is not that of the classes.
    assert agrees(val, range(47)[::-1], every=5)
    assert val.sample_ids[-1] == "dtd/images/banded/banded_0001.jpg"
    assert val.class_names[val.labels[0]] == "zigzagged"
    assert val.templates == ("A surface with a {} texture.",)


def test_fgvc_aircraft(miniature, agrees) -> None:
    variants = published_spellings("fgvc-aircraft")
    test = open_set(f"fgvc-aircraft:{miniature('fgvc-aircraft')}", "test")
    # Image numbers say nothing of classes; variants have spaces and slashes.
    assert agrees(test, range(100)[::-1], every=7)
    assert test.class_names[0] == "Boeing 707-320"
    assert test.class_names[variants.index("F-16A/B")] == "F-16A/B"


@pytest.fixture
def flowers102(tmp_path: Path, write_flat, monkeypatch) -> Path:
    base = tmp_path / "flowers-102"
    labels = np.array([102, 1, 77, 1], np.uint8)
    for index, label in enumerate(labels, start=1):
        write_flat(base / f"jpg/image_{index:05d}.jpg", int(label) - 1)
    write_flowers(base, labels, monkeypatch)
    return base


def write_flowers(base: Path, labels, monkeypatch) -> None:
    # MATLAB stores the lists as rows, and the training and test lists swapped against their size.
    savemat(base / "imagelabels.mat", {"labels": labels[None]})
    ids = {"trnid": [[2, 3]], "valid": [[4, 2]], "tstid": [[3, 1, 4]]}
    savemat(base / "setid.mat", {name: np.array(rows, np.uint16) for name, rows in ids.items()})
    known = dict(datasets.Flowers102._file_dict)
    for key, name in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        known[key] = (name, hashlib.md5((base / name).read_bytes()).hexdigest())
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", known)


def test_flowers102(flowers102: Path, agrees) -> None:
    test = open_set(f"flowers102:{flowers102.parent}", "test")
    assert agrees(test, [76, 101, 0])
    names = [test.class_names[label] for label in test.labels]
    assert names == ["passion flower", "blackberry lily", "pink primrose"]
    assert test.sample_ids[0] == "jpg/image_00003.jpg"


def test_flowers_names_are_torchvisions_but_for_two() -> None:
    from zsrobust.data.names import class_names

    ours = class_names("flowers102", datasets.Flowers102.classes)
    differing = [
        (theirs, name)
        for theirs, name in zip(datasets.Flowers102.classes, ours, strict=True)
        if theirs != name
    ]
    assert differing == [
        ("barbeton daisy", "Barberton daisy"),
        ("pink-yellow dahlia?", "pink-yellow dahlia"),
    ]


@pytest.mark.parametrize("label", [0, 103])
def test_a_label_out_of_range_is_refused(flowers102: Path, monkeypatch, label: int) -> None:
    write_flowers(flowers102, np.array([102, 1, label, 1], np.uint8), monkeypatch)
    with pytest.raises(RequestError, match=r"image_00003.jpg the label -?\d+, where 0 to 101"):
        open_set(f"flowers102:{flowers102}", "test")


def test_a_damaged_mat_file_is_refused(flowers102: Path) -> None:
    path = flowers102 / "setid.mat"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RequestError, match=r"flowers102/test in .* cannot be read"):
        open_set(f"flowers102:{flowers102}", "test")


def test_oxford_pets(miniature, agrees) -> None:
    test = open_set(f"oxford-pets:{miniature('oxford-pets').parent}", "test")
    assert agrees(test, range(37)[::-1], every=4)
    assert test.class_names[1].lower() == "american bulldog"
    assert test.templates == ("A photo of a {}, a type of pet.",)


def write_cars(base: Path, write_flat, labels: list[int]) -> None:
    (base / "devkit").mkdir(parents=True)
    names = np.array(published_spellings("stanford-cars"), object)
    savemat(base / "devkit/cars_meta.mat", {"class_names": names})
    fields = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class")
    kinds = [(name, object) for name in (*fields, "fname")]
    rows = [(1, 2, 3, 4, label, f"{row:05d}.jpg") for row, label in enumerate(labels, start=1)]
    annotations = {"annotations": np.array([rows], kinds)}
    savemat(base / "cars_test_annos_withlabels.mat", annotations)
    for row, label in enumerate(labels, start=1):
        write_flat(base / f"cars_test/{row:05d}.jpg", label - 1)


def test_stanford_cars(tmp_path: Path, write_flat, agrees) -> None:
    write_cars(tmp_path / "stanford_cars", write_flat, [196, 1, 12])
    test = open_set(f"stanford-cars:{tmp_path}", "test")
    assert agrees(test, [195, 0, 11])
    names = [test.class_names[label] for label in test.labels]
    assert names[0] == "smart fortwo Convertible 2012"
    assert names[1] == "AM General Hummer SUV 2000"
    assert test.sample_ids[0] == "cars_test/00001.jpg"


def test_a_car_of_no_class_is_refused(tmp_path: Path, write_flat) -> None:
    write_cars(tmp_path / "stanford_cars", write_flat, [196, 197])
    with pytest.raises(RequestError, match=r"00002.jpg the label 196, where 0 to 195"):
        open_set(f"stanford-cars:{tmp_path}", "test")


@pytest.fixture
def sun397(miniature) -> Path:
    return miniature("sun397", 2)


def test_sun397(sun397: Path, agrees) -> None:
    everything = open_set(f"sun397:{sun397.parent},split=all", "test")
    assert len(everything) == 2 * 397
    assert list(everything.sample_ids) == sorted(everything.sample_ids)
    expected = {
        path.relative_to(sun397).as_posix(): label
        for label, line in enumerate((sun397 / "ClassName.txt").read_text().splitlines())
        for path in (sun397 / line[1:]).glob("*.jpg")
    }
    assert agrees(everything, [expected[path] for path in everything.sample_ids], every=61)
    names = dict(zip(everything.sample_ids, everything.labels, strict=True))
    indoor = everything.class_names[names["a/apse/indoor/sun_1abc.jpg"]]
    assert indoor == "apse indoor"
    train, test = (open_set(f"sun397:{sun397.parent},split={s}", "test") for s in ("train", "test"))
    assert sorted([*train.sample_ids, *test.sample_ids]) == list(everything.sample_ids)
    assert len(test) == round(0.2 * 794)


def test_the_split_of_ours_does_not_depend_on_where_the_set_lies(sun397: Path) -> None:
    from_parent = open_set(f"sun397:{sun397.parent}", "test")
    from_itself = open_set(f"sun397:{sun397}", "test")
    assert from_parent.split == "test"
    assert from_parent.sample_ids == from_itself.sample_ids
