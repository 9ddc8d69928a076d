import pytest

from zsrobust.data.registry import open_set
from zsrobust.demo.own_photos import checked, planned
from zsrobust.demo.plan import PHOTOS
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


def test_half_of_the_classes_stay_unseen_and_no_test_image_is_trained_on(photos, tmp_path):
    plan = planned(PHOTOS, photos(classes=5, images=10), tmp_path / "out")
    train = open_set(plan.train, "train")
    test, unseen = (open_set(spec, "test") for spec in plan.data)
    assert [one.name for one in (test, unseen)] == ["trained-classes", "unseen-classes"]
    assert train.class_names == test.class_names
    assert len(train.class_names) == 3
    assert set(unseen.class_names) == {"red", "yellow"}
    assert not set(train.class_names) & set(unseen.class_names)
    assert not set(train.sample_ids) & set(test.sample_ids)
    assert (len(train), len(test), len(unseen)) == (21, 9, 20)
    # The evaluator tells by place what was seen.
    assert test.origin == train.origin != unseen.origin
    assert train.read_rgb(0).size == (32, 32)
    held_out = round(plan.hold_out * len(train))
    assert 1 <= held_out < len(train)
    assert plan.batch_size <= len(train) - held_out


@pytest.mark.parametrize(("classes", "images"), [(2, 2), (3, 4)])
def test_few_classes_are_all_trained_on(photos, tmp_path, classes, images):
    plan = planned(PHOTOS, photos(classes=classes, images=images), tmp_path / "out")
    assert [spec.rpartition("=")[2] for spec in plan.data] == ["trained-classes"]
    train = open_set(plan.train, "train")
    assert len(train.class_names) == classes
    assert round(plan.hold_out * len(train)) >= 1


def test_the_split_is_the_same_at_every_call(photos, tmp_path):
    folder = photos(classes=4, images=7)
    first = open_set(planned(PHOTOS, folder, tmp_path / "a").train, "train").sample_ids
    planned(PHOTOS, folder, tmp_path / "b")
    again = planned(PHOTOS, folder, tmp_path / "b")
    assert open_set(again.train, "train").sample_ids == first


def test_a_class_folder_with_one_image_is_named(photos):
    folder = photos(classes=3, images=2)
    (folder / "green" / "0.png").unlink()
    with pytest.raises(RequestError, match=r"photos/green \(green\) holds one image: put at least"):
        checked(folder)


def test_folders_that_cannot_be_used_are_named(photos, tmp_path):
    with pytest.raises(RequestError, match="nowhere is no folder: it must hold one folder of"):
        checked(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="empty holds no class folders"):
        checked(tmp_path / "empty")
    with pytest.raises(RequestError, match=r"single holds one class alone \(red\)"):
        checked(photos("single", classes=1))
    folder = photos(classes=3)
    for path in (folder / "blue").iterdir():
        path.unlink()
    with pytest.raises(RequestError, match=r"hold no images \(blue\)"):
        checked(folder)
