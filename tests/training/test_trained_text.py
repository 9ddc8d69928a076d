"""A method that trains the text tower: what is evaluated, saved and loaded is the trained one."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from zsrobust.config.schema import Optimizer
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model
from zsrobust.objectives import MMCoA, TeCoA
from zsrobust.training import finetune as module
from zsrobust.training.finetune import finetune
from zsrobust.training.trainer import Trainer
from zsrobust.utils.errors import RequestError

OPTIONS = {"method": "mmcoa", "objective": MMCoA(), "optimizer": Optimizer(lr=0.02)}


@pytest.mark.slow
def test_the_saved_model_has_the_trained_text(config, weights, monkeypatch):
    evaluated = []
    select = Trainer._select

    def recorded(self, found):
        evaluated.append(self.classifier.class_embeddings.clone())
        return select(self, found)

    monkeypatch.setattr(Trainer, "_select", recorded)
    settings = config(**OPTIONS, steps=3, evaluate_every=3)
    run = finetune(settings)
    original, tuned = load(settings.model), load(str(run.folder))
    names = [f"class {label}" for label in range(4)]
    vectors = tuned.text.encode(names, tuned.default_templates)
    assert not torch.allclose(vectors, original.text.encode(names, tuned.default_templates))
    torch.testing.assert_close(evaluated[-1], vectors)
    saved = weights(run.folder)
    for name, value in tuned.text.model.state_dict().items():
        assert torch.equal(value, saved[f"1.tower.{name}"]), name
    assert torch.equal(tuned.text.model.logit_scale, original.text.model.logit_scale)

    further = finetune(config("further", model=str(run.folder), method="tecoa", objective=TeCoA()))
    assert load(str(further.folder)).text.fingerprint == tuned.text.fingerprint


def test_a_damaged_text_tower_is_refused(small_clip, tmp_path):
    model = load(small_clip)
    text = model.text.with_weights(model.text.model.state_dict(), tuned=True)
    save_model(tmp_path / "model", replace(model, text=text), "mmcoa")
    path = tmp_path / "model" / "text.safetensors"
    assert load_file(path).keys() == model.text.model.state_dict().keys()
    assert load(str(tmp_path / "model")).text.tuned
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(RequestError, match=r"text.safetensors is damaged or does not fit"):
        load(str(tmp_path / "model"))


def test_a_model_without_a_text_tower_is_refused(config, small_clip, monkeypatch):
    vectors = torch.eye(24)
    model = CLIPModel.from_encoder(
        "table", load(small_clip).encoder, lambda texts: vectors[: len(texts)], image_size=32
    )
    monkeypatch.setattr(module, "load", lambda *_, **__: model)
    with pytest.raises(RequestError, match="model table has no text tower of open_clip's"):
        finetune(config(**OPTIONS))


@pytest.mark.parametrize(("option", "value"), [("ema", 0.9), ("shard", True)])
def test_what_holds_the_image_encoder_alone_is_refused(config, option, value):
    with pytest.raises(RequestError, match=f"{option} is {value}: .* trains the text tower too"):
        config(**OPTIONS, **{option: value})
