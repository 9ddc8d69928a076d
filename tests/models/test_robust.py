"""The robust models that ship with the package."""

import json
import shutil
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.data.loading import load_batches
from zsrobust.data.registry import open_set
from zsrobust.models import photo_lite, robust
from zsrobust.models.loading import load
from zsrobust.models.robust import ROBUST
from zsrobust.models.weights import fingerprint
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

EMBEDDED = "glyph-clip-robust"
HERE = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            original == "photo-lite" and any(find_spec(one) is None for one in photo_lite.PACKAGES),
            reason="needs the extra photo",
        ),
    )
    for name, original in ROBUST.items()
]


def verdicts(name, images, batch, eps):
    """Who is right before and after PGD-10."""
    model = load(name)
    classifier = model.classifier(images.class_names, images.templates or None).eval()
    attack = make_attack("pgd-10", ThreatModel(eps=eps))
    found = attack(classifier, batch.images, batch.labels, batch.sample_ids)
    with torch.no_grad():
        clean = classifier(batch.images).argmax(-1) == batch.labels
        return clean, clean & (classifier(found).argmax(-1) == batch.labels)


def test_it_is_robust_where_the_original_is_not():
    images = open_set("glyph:capital-letters", "test")
    (batch,) = load_batches(images, [list(range(60))], resize="clip", resolution=32, workers=0)
    clean, standing = verdicts(EMBEDDED, images, batch, 4 / 255)
    _, original = verdicts("glyph-clip", images, batch, 4 / 255)
    assert clean.float().mean() > 0.8
    assert standing.float().mean() > 0.5
    assert original.float().mean() < 0.2


@pytest.mark.parametrize("name", HERE)
def test_says_what_it_is(name):
    model = load(name)
    assert model.name == name
    assert model.source == ROBUST[name]
    assert model.method.startswith(("pmg_aft[", "sum["))
    assert model.seen & {"glyphs-training", "tiny-imagenet"}
    assert next(model.encoder.parameters()).dtype == torch.float32


@pytest.mark.skipif(find_spec("skimage") is None, reason="needs the extra photo")
def test_it_is_robust_on_photographs_where_the_original_is_not():
    from zsrobust.demo.examples import photographs

    images = photographs()
    every = [list(range(len(images)))]
    (batch,) = load_batches(images, every, resize="clip", resolution=96, workers=0)
    _, original = verdicts("photo-lite", images, batch, 1 / 255)
    _, standing = verdicts("photo-lite-robust", images, batch, 1 / 255)
    assert standing.sum() >= 3 > 1 >= original.sum()


def test_an_original_that_is_not_installed_is_no_damage(monkeypatch):
    monkeypatch.setattr(photo_lite, "PACKAGES", ("no_such_package",))
    with pytest.raises(RequestError, match=r'^photo-lite needs the extra "photo"'):
        load("photo-lite-robust")


@pytest.mark.parametrize("name", HERE)
def test_its_files_are_in_half_precision_and_name_no_machine(name):
    folder = Path(str(resources.files(robust))) / name
    card = json.loads((folder / "model.json").read_text("utf-8"))
    assert not any({"/", "\\"} & set(seen) for seen in card["seen"])
    assert (folder / "MODEL_CARD.md").is_file()
    weights = sum(part.numel() for part in load(name).encoder.state_dict().values())
    assert (folder / "model.safetensors").stat().st_size < 2.2 * weights


def test_it_is_partway_from_its_original_too():
    ends = {name: fingerprint(load(name).encoder) for name in ("glyph-clip", EMBEDDED)}
    assert fingerprint(load(f"wise({EMBEDDED}, 1)").encoder) == ends[EMBEDDED]
    assert fingerprint(load(f"wise({EMBEDDED}, 0)").encoder) == ends["glyph-clip"]


def test_damage_is_told(tmp_path, monkeypatch):
    folder = Path(str(resources.files(robust)))
    shutil.copytree(folder / EMBEDDED, tmp_path / EMBEDDED)
    path = tmp_path / EMBEDDED / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    monkeypatch.setattr(robust, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(
        RequestError, match=r"glyph-clip-robust is damaged .*install zsrobust again"
    ):
        load(EMBEDDED)
