import numpy as np
import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.errors import RequestError
from zsrobust.evaluation.gallery import Gallery, attacked_item

EPS = 8 / 255


@pytest.fixture
def gallery(classifier, samples):
    """One sample attacked against two models that differ in their logit scale alone."""
    images, labels, ids = samples(1)
    models = {"a": classifier(logit_scale=20.0).eval(), "b": classifier(logit_scale=5.0).eval()}
    attack = PGD(ThreatModel(eps=EPS), steps=4)
    item = attacked_item("set", ids[0], images[0], int(labels[0]), models, attack)
    return Gallery("pgd-4 8/255", {"a": "original", "b": "tecoa"}, "By hand.", [item]), models


def test_every_model_looks_at_the_clean_image_and_at_each_attacked_one(gallery, samples):
    (found, models), (images, labels, ids) = gallery, samples(1)
    (item,) = found.items
    assert [view.against for view in item.views] == ["", "a", "b"]
    assert item.label == f"class {int(labels[0])}"
    np.testing.assert_array_equal(item.views[0].pixels, images[0].numpy())
    for view in item.views:
        assert np.abs(view.pixels - item.views[0].pixels).max() <= EPS + 1e-6
        for name, model in models.items():
            with torch.no_grad():
                chances = model(torch.from_numpy(view.pixels)[None]).double().softmax(-1)[0]
            said = view.predictions[name]
            assert said.name == f"class {int(chances.argmax())}"
            assert said.probability == pytest.approx(float(chances.max()), abs=1e-5)
            assert said.right == (said.name == item.label)
    for view in item.views[1:]:
        again = PGD(ThreatModel(eps=EPS), steps=4)(models[view.against], images, labels, ids)
        np.testing.assert_array_equal(view.pixels, again[0].numpy())


def test_what_is_written_is_read_back(gallery, tmp_path):
    found, _ = gallery
    path = tmp_path / "gallery.npz"
    found.write(path)
    back = Gallery.read(path)
    assert (back.attack, back.methods, back.chosen) == (found.attack, found.methods, found.chosen)
    for ours, theirs in zip(found.items[0].views, back.items[0].views, strict=True):
        np.testing.assert_array_equal(ours.pixels, theirs.pixels)
        assert ours.predictions == theirs.predictions


def test_a_damaged_or_foreign_file_is_refused_and_no_pickle_is_read(gallery, tmp_path):
    found, _ = gallery
    path = tmp_path / "gallery.npz"
    with pytest.raises(RequestError, match=r"gallery\.npz is missing or damaged"):
        Gallery.read(path)
    found.write(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RequestError, match="missing or damaged"):
        Gallery.read(path)
    np.savez(path, about=np.array([{"schema": 1}], dtype=object))
    with pytest.raises(RequestError, match="allow_pickle"):
        Gallery.read(path)
    np.savez(path, about=np.array('{"schema": 9}'))
    with pytest.raises(RequestError, match="another schema"):
        Gallery.read(path)
