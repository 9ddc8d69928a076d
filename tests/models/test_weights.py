import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.weights import fingerprint, load_model_folder, save_model
from zsrobust.utils.errors import RequestError


@pytest.fixture
def tuned(tiny):
    model = load(tiny, preprocessing="authors_code")
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.add_(0.01)
    model.seen = frozenset({"tiny-imagenet"})
    return model


@pytest.fixture
def folder(tuned, tmp_path):
    save_model(tmp_path / "run" / "model", tuned, "tecoa", epoch=3)
    return tmp_path / "run" / "model"


def rehash(folder):
    card = json.loads((folder / "model.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(card))


def test_what_was_saved_is_loaded(folder, tuned):
    loaded = load_model_folder(folder, load)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.encoder(images), tuned.encoder(images))
    assert loaded.encoder(images).ne(load(tuned.source).encoder(images)).any()
    assert fingerprint(loaded.encoder) == fingerprint(tuned.encoder)
    assert loaded.text.fingerprint == tuned.text.fingerprint
    assert loaded.preprocessing.describe() == tuned.preprocessing.describe()
    assert (loaded.name, loaded.source) == (str(folder), "tiny-vit/random")
    assert loaded.seen == {"tiny-imagenet"}


def test_the_card_says_what_is_in_the_folder(folder, tuned):
    assert sorted(path.name for path in folder.iterdir()) == ["model.json", "model.safetensors"]
    card = json.loads((folder / "model.json").read_text())
    package = card.pop("package")
    assert package.count(".") >= 1
    assert card == {
        "epoch": 3,
        "schema": 1,
        "source": "tiny-vit/random",
        "adapter": {"kind": "full"},
        "preprocessing": "authors_code",
        "recipe": "",
        "loader_resize": "clip",
        "templates": ["This is a photo of a {}"],
        "logit_scale": tuned.logit_scale,
        "text": tuned.text.fingerprint,
        "seen": ["tiny-imagenet"],
        "method": "tecoa",
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
    }
    assert set(load_file(folder / "model.safetensors")) == set(tuned.encoder.state_dict())


def test_a_second_save_replaces_the_first(folder, tuned):
    save_model(folder, tuned, "pmg_aft")
    assert json.loads((folder / "model.json").read_text())["method"] == "pmg_aft"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_save_that_fails_leaves_the_first(folder, tuned):
    with pytest.raises(TypeError):
        save_model(folder, tuned, "pmg_aft", unwritable=object())
    assert json.loads((folder / "model.json").read_text())["method"] == "tecoa"
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


class Awkward(nn.Module):
    """Tied, strided and scalar tensors."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)
        self.b = nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.conv = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
        self.register_buffer("transposed", torch.arange(6.0).view(2, 3).T)
        self.register_buffer("count", torch.tensor(7))


def test_tied_strided_and_scalar_tensors_survive(tmp_path):
    def model(encoder):
        text = SimpleNamespace(fingerprint="same")
        return CLIPModel("source", encoder, text, Preprocessing("clip", 4), 1.0)

    saved = Awkward()
    save_model(tmp_path / "m", model(saved), "x")
    loaded = load_model_folder(tmp_path / "m", lambda name: model(Awkward())).encoder
    assert loaded.a.weight is loaded.b.weight
    for name, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_cut_file_is_damaged(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match=r"model\.safetensors is damaged: its sha256 differs"):
        load_model_folder(folder, load)


def test_a_cut_file_with_a_fitting_hash_is_still_an_error(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    rehash(folder)
    with pytest.raises(RequestError, match=r"model\.safetensors cannot be read"):
        load_model_folder(folder, load)


def test_a_missing_file_is_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(RequestError, match=r"model\.safetensors cannot be read"):
        load_model_folder(folder, load)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape"])
def test_tensors_that_do_not_fit_the_source_are_named(folder, change):
    tensors = load_file(folder / "model.safetensors")
    if change == "missing":
        del tensors["proj"]
    elif change == "unexpected":
        tensors["proj2"] = torch.zeros(1)
    else:
        tensors["proj"] = torch.zeros(1, 2)
    save_file(tensors, folder / "model.safetensors")
    rehash(folder)
    with pytest.raises(RequestError, match=r"does not fit tiny-vit/random.*proj"):
        load_model_folder(folder, load)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", '"schema": 1'),
        ('{"schema": 2}', '"schema": 1'),
        ('{"schema": 1}', "'source' is missing"),
    ],
)
def test_a_damaged_card_is_named(folder, text, message):
    (folder / "model.json").write_text(text)
    with pytest.raises(RequestError, match=message) as error:
        load_model_folder(folder, load)
    assert str(folder / "model.json") in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("seen", "y"), ("logit_scale", "1"), ("text", None)])
def test_a_value_of_the_wrong_type_is_named(folder, key, value):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, key: value}))
    with pytest.raises(RequestError, match=f"'{key}' is missing or of the wrong type"):
        load_model_folder(folder, load)


def test_another_text_side_is_refused(folder):
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "text": "0" * 16}))
    with pytest.raises(RequestError, match="another text side than tiny-vit/random has here"):
        load_model_folder(folder, load)


def test_how_it_was_trained_comes_back(folder, tuned):
    model = replace(
        tuned, loader_resize="authors_code", default_templates=("one {}",), logit_scale=12.5
    )
    save_model(folder, model, "tecoa")
    again = load_model_folder(folder, load)
    assert (again.loader_resize, again.default_templates) == ("authors_code", ("one {}",))
    assert again.logit_scale == 12.5


def test_fingerprint_is_sixteen_digits_equal_for_equal_weights():
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    assert fingerprint(first) == fingerprint(second)
    assert len(fingerprint(first)) == 16
    assert int(fingerprint(first), 16) >= 0


@pytest.mark.parametrize("change", ["bit", "dtype", "shape", "name", "buffer"])
def test_fingerprint_sees_every_change(change):
    module = nn.BatchNorm1d(4)
    before = fingerprint(module)
    with torch.no_grad():
        if change == "bit":
            module.weight[3] = torch.nextafter(module.weight[3], torch.tensor(2.0))
        elif change == "dtype":
            module.running_mean = module.running_mean.to(torch.int32).float().to(torch.int32)
        elif change == "shape":
            module.bias = nn.Parameter(torch.zeros(2, 2))
        elif change == "name":
            module.register_parameter("shift", module.bias)
            del module.bias
        else:
            module.num_batches_tracked += 1
    assert fingerprint(module) != before


def test_fingerprint_ignores_memory_layout_and_takes_bf16():
    module = nn.Conv2d(3, 4, 2)
    before = fingerprint(module)
    assert fingerprint(module.to(memory_format=torch.channels_last)) == before
    assert fingerprint(module.to(torch.bfloat16)) != before
