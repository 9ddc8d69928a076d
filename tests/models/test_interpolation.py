from dataclasses import replace

import numpy as np
import pytest
import torch

from zsrobust.models.adapters.options import Adapter
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint, save_model
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


@pytest.fixture
def original(architecture):
    """The name of a small ResNet: BatchNorm's statistics and counters among its tensors."""
    architecture("a-resnet", "resnet")
    return "a-resnet/random"


@pytest.fixture
def run(original, tmp_path):
    """A run folder whose every tensor is another than the original's."""
    model = load(original, preprocessing="authors_code")
    random = torch.Generator().manual_seed(0)
    for tensor in model.encoder.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape, generator=random))
        else:
            tensor.add_(7)
    seen = replace(model, seen=frozenset({"one"}), logit_scale=12.5)
    save_model(tmp_path / "run" / "model", seen, "pmg_aft[paper]")
    return str(tmp_path / "run")


def test_the_ends_are_the_two_models_bit_for_bit(run, original):
    tuned, start = load(run), load(original)
    first, last = load(f"wise({run}, 0)"), load(f"wise({run}, 1)")
    assert fingerprint(last.encoder) == fingerprint(tuned.encoder) != fingerprint(start.encoder)
    for name, tensor in first.encoder.state_dict().items():
        expected = start.encoder.state_dict()[name]
        if tensor.is_floating_point():
            assert tensor.numpy().tobytes() == expected.numpy().tobytes(), name


def test_a_negative_zero_survives_at_the_ends(original, tmp_path):
    model = load(original)
    with torch.no_grad():
        model.encoder.conv1.weight.fill_(-0.0)
    save_model(tmp_path / "m", model, "tecoa")
    found = load(f"wise({tmp_path / 'm'}, 1)").encoder.conv1.weight
    assert torch.signbit(found).all()


def test_between_them_every_floating_tensor_is_the_weighted_mean(run, original):
    found = load(f"wise({run}, 0.3)").encoder.state_dict()
    tuned, start = load(run).encoder.state_dict(), load(original).encoder.state_dict()
    assert found.keys() == start.keys()
    assert any("running_var" in name for name in found)
    for name, tensor in found.items():
        if tensor.is_floating_point():
            mean = 0.7 * start[name].numpy().astype(float) + 0.3 * tuned[name].numpy().astype(float)
            np.testing.assert_allclose(tensor.numpy(), mean, rtol=1e-5, atol=1e-6)
        else:
            assert tensor == tuned[name] == start[name] + 7


def test_everything_else_is_the_fine_tuned_model_s(run, original):
    name = f"wise({run}, 0.50)"
    found = load(name)
    assert (found.name, found.source) == (name, original)
    assert found.method == "wise(pmg_aft[paper], 0.5)"
    assert (found.seen, found.logit_scale) == ({"one"}, 12.5)
    assert found.preprocessing.protocol == "authors_code"
    assert load(name, preprocessing="clip").preprocessing.protocol == "clip"
    assert not found.encoder.training


def test_a_fine_tuned_text_tower_is_interpolated_too(small_clip, tmp_path):
    start = load(small_clip)
    moved = {name: value + 1 for name, value in start.text.model.state_dict().items()}
    text = start.text.with_weights(moved, tuned=True)
    save_model(tmp_path / "model", replace(start, text=text), "mmcoa")
    first, middle, last = (load(f"wise({tmp_path}, {alpha})").text for alpha in (0, 0.25, 1))
    assert first.fingerprint == start.text.fingerprint
    assert last.fingerprint == text.fingerprint
    for name, value in middle.model.state_dict().items():
        torch.testing.assert_close(value, start.text.model.state_dict()[name] + 0.25)


def test_forms_nest(run, original):
    outer = load(f"wise(wise({run}, 0.5), 0.5)")
    inner = load(f"wise({run}, 0.25)")
    for name, tensor in inner.encoder.state_dict().items():
        torch.testing.assert_close(outer.encoder.state_dict()[name], tensor)
    assert outer.method == "wise(wise(pmg_aft[paper], 0.5), 0.5)"


def test_a_foreign_checkpoint_has_an_original_too(original, tmp_path):
    tensors = {name: part + 1 for name, part in load(original).encoder.state_dict().items()}
    torch.save(tensors, tmp_path / "theirs.pt")
    found = load(f"wise({original}@{tmp_path / 'theirs.pt'}, 0.5)")
    expected = load(original).encoder.conv1.weight + 0.5
    torch.testing.assert_close(found.encoder.conv1.weight, expected)


BAD = {
    "wise({}, 1.5)": r"ALPHA is 1\.5: must be between 0 and 1",
    "wise({}, -0.1)": r"ALPHA is -0\.1: must be between 0 and 1",
    "wise({}, nan)": "ALPHA is nan: must be between 0 and 1",
    "wise({}, half)": "ALPHA is 'half': must be a number",
    "wise({})": r"write wise\(MODEL, ALPHA\), as in",
    "wise({}, 0.5, 0.5)": r"write wise\(MODEL, ALPHA\), as in",
    "wise({}, alpha=0.5)": r"write wise\(MODEL, ALPHA\), as in",
    "wise(a-resnet/random, 0.5)": "a-resnet/random was not fine-tuned",
    "wise(ttc({}), 0.5)": "has a test-time defence, which an interpolation of weights",
    "wise(nowhere, 0.5)": "model 'nowhere' is unknown",
}


def test_bad_names_are_refused(run):
    for name, message in BAD.items():
        with pytest.raises(RequestError, match=message):
            load(name.replace("{}", run))


def test_a_visual_prompt_has_nothing_to_interpolate_with(original, tmp_path):
    model, adapter = load(original), Adapter("prompt_padding", width=5)
    prompted = replace(model, encoder=model.adapted_encoder(adapter.made, 0), adapter=adapter)
    save_model(tmp_path / "m", prompted, "tecoa")
    with pytest.raises(RequestError, match=r"has a visual prompt \(prompt_padding\(width=5\)\)"):
        load(f"wise({tmp_path / 'm'}, 0.5)")
