"""Checkpoints of a whole CLIP: whose text side is it?"""

import numpy as np
import open_clip
import pytest
import torch

from zsrobust.models.foreign import load_foreign
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAMES = ("bird", "cat", "house")


def test_a_whole_clip_with_the_bases_text_side_was_tuned_from_it(tiny, whole, saved):
    model = load_foreign(saved({"state_dict": whole.state_dict()}, "epoch_1.pt"), load)
    assert (model.source, model.method) == (tiny, "checkpoint epoch_1")
    assert torch.equal(model.encoder.proj, whole.visual.proj)


def test_a_whole_clip_with_another_text_side_is_a_model_of_its_own(tiny, whole, saved, tmp_path):
    with torch.no_grad():
        whole.text_projection.mul_(-1).add_(0.1)
        whole.logit_scale.fill_(3.0)
    name = saved(
        {"state_dict": {f"module.{k}": v for k, v in whole.state_dict().items()}}, "epoch_1.pt"
    )
    model = load_foreign(name, load)
    assert (model.source, model.method) == (name, "original")
    assert model.logit_scale == pytest.approx(np.exp(3.0))
    tokens = open_clip.get_tokenizer("tiny-vit")([f"a {name}" for name in NAMES])
    with torch.no_grad():
        texts = whole.encode_text(tokens, normalize=True)
        images = whole.encode_image(model.preprocessing(IMAGES), normalize=True)
        logits = model.classifier(NAMES, ["a {}"])(IMAGES)
    assert torch.allclose(logits, np.exp(3.0) * images @ texts.T, atol=1e-5)
    assert load(tiny).text.fingerprint != model.text.fingerprint


def rounded(tensors, *precisions):
    for precision in precisions:
        tensors = {key: value.to(precision) for key, value in tensors.items()}
    return tensors


PRECISIONS = {
    "fp16": [torch.float16],
    "bf16": [torch.bfloat16],
    "fp64": [torch.float64],
    "fp16 written as fp32": [torch.float16, torch.float32],
    "bf16 written as fp32": [torch.bfloat16, torch.float32],
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("alone", ["", "text", "logit_scale"])
def test_the_bases_text_side_is_known_in_any_precision(tiny, whole, saved, precision, alone):
    tensors = whole.state_dict()
    parts = {
        "": tensors,
        "text": {k: v for k, v in tensors.items() if not k.startswith("visual.")},
        "logit_scale": {"logit_scale": tensors["logit_scale"]},
    }
    tensors |= rounded(parts[alone], *PRECISIONS[precision])
    model, base = load_foreign(saved({"state_dict": tensors}), load), load(tiny)
    assert (model.source, model.method) == (tiny, "checkpoint tuned")
    assert model.text.fingerprint == base.text.fingerprint
    assert model.logit_scale == base.logit_scale
    assert torch.equal(model.encoder.proj, tensors["visual.proj"].float())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_text_side_is_another_in_any_precision(whole, saved, precision):
    with torch.no_grad():
        whole.text_projection[0, 0] *= 1.02
    tensors = rounded(whole.state_dict(), *PRECISIONS[precision])
    name = saved({"state_dict": tensors})
    model = load_foreign(name, load)
    assert (model.source, model.method) == (name, "original")


def test_a_logit_scale_trained_with_a_locked_text_side_is_used(tiny, whole, saved):
    with torch.no_grad():
        whole.logit_scale.fill_(3.0)
    model = load_foreign(saved({"state_dict": whole.state_dict()}), load)
    assert (model.source, model.method) == (tiny, "checkpoint tuned")
    assert model.logit_scale == pytest.approx(np.exp(3.0))
    assert model.text.fingerprint == load(tiny).text.fingerprint


def test_half_a_checkpoint_interpolates_with_its_original(tiny, whole, saved):
    halves = rounded(whole.state_dict(), torch.float16)
    name = saved({"state_dict": halves})
    middle = load(f"wise({name}, 0.5)").encoder.proj
    expected = (load(tiny).encoder.proj + halves["visual.proj"].float()) / 2
    torch.testing.assert_close(middle, expected)


@pytest.mark.parametrize("key", ["logit_scale", "text_projection"])
def test_a_text_side_without_values_is_refused(whole, saved, key):
    tensors = whole.state_dict()
    tensors[key] = torch.full_like(tensors[key], torch.nan)
    with pytest.raises(RequestError, match=f"{key} of its text side"):
        load_foreign(saved({"state_dict": tensors}), load)


def test_a_text_side_that_does_not_fit_is_named(whole, saved):
    tensors = whole.state_dict()
    del tensors["text_projection"]
    with pytest.raises(RequestError, match=r"fit the text side of tiny.*lacks text_projection"):
        load_foreign(saved({"state_dict": tensors}), load)
