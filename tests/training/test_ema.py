import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from zsrobust.models.loading import load
from zsrobust.training.encoder import Average
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics
from zsrobust.training.step import TrainingStep

pytestmark = pytest.mark.slow


def test_the_average_equals_its_closed_form():
    """(1 - d) sum of d^(k - i) theta_i over i = 1..k, and d^k theta_0."""
    decay, random = 0.7, torch.Generator().manual_seed(0)
    encoder = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = Average(encoder, decay)
    history = [copy.deepcopy(encoder.state_dict())]
    for _ in range(5):
        for tensor in encoder.state_dict().values():
            drawn = torch.randn(tensor.shape, generator=random)
            tensor.add_(drawn if tensor.is_floating_point() else 1)
        average.update(encoder)
        history.append(copy.deepcopy(encoder.state_dict()))
    for name, found in average.encoder.state_dict().items():
        if not found.is_floating_point():
            assert found == 5
            continue
        values = torch.stack([state[name].double() for state in history])
        weights = torch.tensor([decay**5, *((1 - decay) * decay ** (5 - i) for i in range(1, 6))])
        expected = torch.einsum("i,i...->...", weights.double(), values)
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_fixed_parameters_keep_their_bits():
    encoder = nn.Linear(2, 2)
    with torch.no_grad():
        encoder.weight.fill_(-0.0)
    encoder.weight.requires_grad_(False)
    average = Average(encoder, 0.9)
    average.update(encoder)
    assert torch.signbit(average.encoder.weight).all()


def test_a_run_saves_the_average_of_its_weights(config, weights, monkeypatch):
    settings = config(ema=0.5, evaluate_every=6)
    step, seen = TrainingStep.__call__, []

    def watched(self, *parts, **given):
        figures = step(self, *parts, **given)
        seen.append(copy.deepcopy(self.encoder.raw.state_dict()))
        return figures

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", watched)
        run = finetune(settings)
    expected = load(settings.model).encoder.state_dict()
    for state in seen:
        expected = {name: 0.5 * expected[name] + 0.5 * state[name] for name in state}
    saved = load_file(run.folder / "model" / "model.safetensors")
    assert saved.keys() == expected.keys()
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-5)
        assert torch.equal(weights(run.folder)[f"1.{name}"], tensor)
        assert torch.equal(weights(run.folder)[f"0.{name}"], seen[-1][name])
    assert load(str(run.folder)).method == "pmg_aft[authors_code] + ema(0.5)"


def test_the_average_is_what_is_evaluated(config, weights):
    """One that hardly moves scores as the original at every evaluation, whatever is learned."""
    run = finetune(config(ema=1 - 1e-12, steps=8))
    rows = read_metrics(run.folder / "metrics.jsonl")
    held_out = [row for row in rows if row["kind"] == "held_out"]
    assert [row["step"] for row in held_out] == [0, 4, 8]
    for row in held_out[1:]:
        assert {key: row[key] for key in ("clean_acc", "robust_acc")} == {
            key: held_out[0][key] for key in ("clean_acc", "robust_acc")
        }
        assert row["relative_l2_distance"] == pytest.approx(0, abs=1e-9)
    original = load(config().model).encoder.state_dict()
    moved = weights(run.folder)
    assert any(not torch.allclose(moved[f"0.{name}"], original[name]) for name in original)
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert card["held_out"]["clean_acc"] == held_out[0]["clean_acc"]
