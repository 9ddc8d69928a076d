import io
import random
import zipfile

import numpy as np
import pytest
import torch

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.evaluation.gallery import Gallery, attacked_item
from zsrobust.utils.errors import RequestError

EPS = 8 / 255


@pytest.fixture
def gallery(classifier, samples):
    """One sample attacked against two models that differ in their logit scale alone."""
    images, labels, ids = samples(1)
    models = {"a": classifier(logit_scale=20.0).eval(), "b": classifier(logit_scale=5.0).eval()}
    attack = PGD(ThreatModel(eps=EPS), steps=4)
    item = attacked_item("set", ids[0], images[0], int(labels[0]), models, attack)
    return Gallery("pgd-4 8/255", {"a": "original", "b": "tecoa"}, "By hand.", [item]), models


def test_every_model_predicts_clean_and_adversarial_images(gallery, samples):
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


def changed(content: bytes, at: int, to: int) -> bytes:
    return content[:at] + bytes([to]) + content[at + 1 :]


def with_header(header: str, text: bytes = b"") -> bytes:
    """An archive whose ``about`` has this header of NumPy's format."""
    line = header.encode().ljust(117) + b"\n"
    member = b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + text
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("about.npy", member)
    return held.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda good: with_header("{'descr': '<U1', (("), id="TokenError"),
        pytest.param(lambda good: with_header("   1\n 2"), id="SyntaxError"),
        pytest.param(lambda good: with_header(" " * 20_000), id="ValueError of several lines"),
        pytest.param(
            lambda good: with_header(
                "{'descr':'<U1','fortran_order':False,'shape':()}", b"3\0\0\0"
            ),
            id="AttributeError: a number for the text",
        ),
        pytest.param(
            lambda good: with_header(
                "{'descr':'<U1','fortran_order':False,'shape':()}", b"\xff" * 4
            ),
            id="SystemError: no such letter",
        ),
        pytest.param(
            lambda good: changed(good, good.index(b"PK\x01\x02") + 10, 99),
            id="NotImplementedError: unknown compression",
        ),
        pytest.param(
            lambda good: changed(good, good.index(b"PK\x01\x02") + 8, 1),
            id="RuntimeError: encrypted",
        ),
        pytest.param(
            lambda good: changed(good, good.index(b"about.npy") + 9 + 20, 7), id="zlib.error"
        ),
    ],
)
def test_every_kind_of_damage_is_one_sentence(gallery, tmp_path, damage):
    found, _ = gallery
    path = tmp_path / "gallery.npz"
    found.write(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RequestError, match=r"gallery\.npz is missing or damaged") as caught:
        Gallery.read(path)
    assert "\n" not in str(caught.value)


def test_a_byte_changed_anywhere_is_refused_or_changes_nothing_that_is_read(gallery, tmp_path):
    found, _ = gallery
    path = tmp_path / "gallery.npz"
    found.write(path)
    good, dice = path.read_bytes(), random.Random(0)
    for _ in range(150):
        path.write_bytes(changed(good, dice.randrange(len(good)), dice.randrange(256)))
        try:
            back = Gallery.read(path)
        except RequestError:
            continue
        assert back.methods == found.methods
        for ours, theirs in zip(found.items[0].views, back.items[0].views, strict=True):
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)
