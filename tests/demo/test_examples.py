from dataclasses import replace

import numpy as np
import pytest

from zsrobust.cli.main import main
from zsrobust.demo import command, examples
from zsrobust.evaluation.gallery import Gallery
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

pytest.importorskip("skimage")


@pytest.fixture
def two(small_clip, tmp_path, monkeypatch):
    """A small model and one that was trained from it, instead of those that the command names."""
    robust = tmp_path / "robust"
    save_model(robust, load(small_clip), "tecoa")
    monkeypatch.setattr(command, "PHOTOS", replace(command.PHOTOS, model=small_clip))
    monkeypatch.setattr(command, "ROBUST", str(robust))
    return small_clip, str(robust)


def test_the_photographs_are_in_the_installed_packages():
    images = examples.photographs()
    assert len(images) == len(examples.PHOTOGRAPHS)
    assert len(set(images.class_names)) == len(images.class_names) > len(images)
    shown = [images.class_names[label] for label in images.labels]
    assert dict(zip(images.sample_ids, shown, strict=True)) == examples.PHOTOGRAPHS
    for index in range(len(images)):
        assert min(images.read_rgb(index).size) >= 200


def test_a_missing_package_or_file_is_named(monkeypatch):
    monkeypatch.setattr(examples, "PHOTOGRAPHS", {"no_such_package/cat.png": "cat"})
    with pytest.raises(RequestError, match=r'need the package no_such_package: pip install "zsrob'):
        examples.photographs()
    monkeypatch.setattr(examples, "PHOTOGRAPHS", {"sklearn/no_such.png": "cat"})
    with pytest.raises(RequestError, match=r"no_such\.png is missing"):
        examples.photographs()


def test_the_command_shows_them_before_and_after_an_attack(two, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--photos", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    gallery = Gallery.read(tmp_path / "runs" / "demo-examples" / "gallery.npz")
    assert len(gallery.items) == len(examples.PHOTOGRAPHS)
    for index, (model, method) in enumerate(zip(two, ("original", "TeCoA"), strict=True)):
        before = [item.views[0].predictions[model].right for item in gallery.items]
        after = [item.views[1 + index].predictions[model].right for item in gallery.items]
        still = int(np.sum(np.array(before) & np.array(after)))
        said = f"has {sum(before)} of {len(before)} right, and {still} after pgd-10 1/255"
        assert f"{method} ({model}) {said}" in shown
    assert "again: zsrobust demo --photos --device cpu" in shown
    assert (tmp_path / "runs" / "demo-examples" / "gallery.svg").is_file()


def test_the_command_trains_on_a_folder_of_the_users(two, photos, tmp_path, monkeypatch, capsys):
    tiny = replace(command.PHOTOS, steps=6, batch_size=4, attack=("pgd-1",))
    monkeypatch.setattr(command, "PHOTOS", tiny)
    monkeypatch.chdir(tmp_path)
    argv = ["demo", "--photos", str(photos(images=4)), "--quick", "--device", "cpu"]
    assert main(argv) == 0
    shown = capsys.readouterr().out
    assert "average of 1 unseen" in shown
    assert "On the one unseen set (n 8), where pgd-1 1/255" in shown
    assert "one small photo model on your photographs" in shown
    folder = photos("lonely", images=2)
    (folder / "red" / "0.png").unlink()
    assert main(["demo", "--photos", str(folder)]) == 2
    assert "holds one image" in capsys.readouterr().err
    # The robust model of the user's photographs joins the photographs of the packages.
    monkeypatch.setattr(command, "YOURS", tmp_path / "runs" / "demo-photos-quick" / "pmg_aft")
    assert main(["demo", "--photos", "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert said.index("TeCoA (") < said.index(f"PMG-AFT[authors_code] ({command.YOURS}) has")
