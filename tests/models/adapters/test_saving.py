"""What lies in ``model/`` for each kind, and what comes back."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from zsrobust.models.adapters.options import ADAPTERS, Adapter
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint, load_model_folder, save_model
from zsrobust.utils.errors import RequestError


@pytest.fixture
def vit(tiny):
    return load(tiny)


OPTIONS = {"prompt_padding": {"width": 5}, "prompt_tokens": {"tokens": 3, "width": 2}}


@pytest.fixture(params=ADAPTERS)
def tuned(request, vit):
    """A loaded model with every trained parameter moved."""
    adapter = Adapter(request.param, **OPTIONS.get(request.param, {}))
    encoder = vit.adapted_encoder(adapter.made, 0)
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for part in encoder.parameters():
            if part.requires_grad:
                part.add_(0.1 * torch.randn(part.shape, generator=random))
    return replace(vit, encoder=encoder, adapter=adapter)


def test_what_was_saved_is_loaded_and_plain_but_for_prompts(tuned, tmp_path):
    save_model(tmp_path / "one", tuned, "tecoa")
    loaded, original = load(str(tmp_path / "one")), load(tuned.source).encoder
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded.encoder(images), tuned.encoder(images))
        assert not torch.allclose(loaded.encoder(images), original(images))
    assert loaded.adapter == tuned.adapter

    found = load_file(tmp_path / "one" / "model.safetensors")
    plain = original.state_dict()
    prompted = tuned.adapter.kind.startswith("prompt")
    assert (found.keys() == plain.keys()) != prompted
    tower = "tower.tower." if tuned.adapter.kind == "prompt_tokens" else "tower."
    for name, tensor in plain.items() if prompted else ():
        assert torch.equal(found[f"{tower}{name}"], tensor), name

    save_model(tmp_path / "two", loaded, "tecoa")
    cards = [json.loads((tmp_path / name / "model.json").read_text()) for name in ("one", "two")]
    assert cards[0] == cards[1], "hash of the tensors included"
    assert cards[0]["adapter"] == {"kind": tuned.adapter.kind, **tuned.adapter.options}


def test_a_prompt_decides_the_fingerprint(vit):
    encoder = vit.adapted_encoder(Adapter("prompt_padding", width=5).made, 0)
    before = fingerprint(encoder)
    with torch.no_grad():
        encoder.right[2, 1, 1] = 1e-3
    assert fingerprint(encoder) != before != fingerprint(encoder.tower)


def test_cards_of_runs_before_there_was_a_choice(vit, tmp_path):
    save_model(tmp_path / "model", vit, "tecoa")
    path = tmp_path / "model" / "model.json"
    card = json.loads(path.read_text())
    del card["adapter"]
    path.write_text(json.dumps(card))
    assert load_model_folder(tmp_path / "model", load).adapter == Adapter("full")


def test_a_damaged_card_is_named(vit, tmp_path):
    save_model(tmp_path / "model", vit, "tecoa")
    path = tmp_path / "model" / "model.json"
    card = json.loads(path.read_text())
    for wrong in ({"kind": "mine"}, {"kind": "lora", "size": 3}, {"kind": "full", "rank": 3}, 5):
        path.write_text(json.dumps({**card, "adapter": wrong}))
        with pytest.raises(
            RequestError, match=r"model\.json is damaged: 'adapter' is wrong"
        ) as told:
            load_model_folder(tmp_path / "model", load)
        assert str(path) in str(told.value)


def test_a_prompt_of_another_size_is_refused(vit, tmp_path):
    adapter = Adapter("prompt_padding", width=5)
    prompted = replace(vit, encoder=vit.adapted_encoder(adapter.made, 0), adapter=adapter)
    save_model(tmp_path / "model", copy.copy(prompted), "tecoa")
    path = tmp_path / "model" / "model.json"
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "adapter": {"kind": "prompt_padding", "width": 6}}))
    with pytest.raises(RequestError, match=r"does not fit tiny-vit/random.*size mismatch"):
        load_model_folder(tmp_path / "model", load)
