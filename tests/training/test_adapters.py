"""Each adapter in a run: what moves, what is saved, and that a cut run ends as a whole one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zsrobust.config.schema import Optimizer
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.loading import load
from zsrobust.objectives import TGAZSR, FTAdv
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics
from zsrobust.training.step import TrainingStep
from zsrobust.utils.errors import RequestError, RunError

pytestmark = pytest.mark.slow

# The small CLIP's ViT: 32 px, 2 blocks of width 32, 16 patches, 24 dimensions.
MATRICES = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
ADAPTERS = {
    "blocks": Adapter("blocks"),
    "first_blocks": Adapter("first_blocks"),
    "layer_norm": Adapter("layer_norm"),
    "lora": Adapter("lora", rank=2),
    "prompt_padding": Adapter("prompt_padding", width=5),
    "prompt_tokens": Adapter("prompt_tokens", tokens=3, width=2),
}
TRAINED = {
    "blocks": 12 * 32**2 + 13 * 32 + 2 * 32 + 32 * 24,
    # Patches of 8 x 8 pixels, class token and 17 positions, the norm before the blocks, a block.
    "first_blocks": 3 * 8**2 * 32 + 32 + 17 * 32 + 2 * 32 + 12 * 32**2 + 13 * 32,
    "layer_norm": 6 * 2 * 32,
    "lora": 2 * 2 * (96 + 32 + 32 + 32 + 128 + 32 + 32 + 128),
    "prompt_padding": 3 * (32**2 - 22**2),
    "prompt_tokens": 3 * 32 + 3 * (32**2 - 28**2),
}


def moves(kind, name):
    """Whether a weight of the plain tower is among those that a kind moves."""
    if kind == "blocks":
        return name.startswith(("transformer.resblocks.1.", "ln_post.")) or name == "proj"
    if kind == "first_blocks":
        return not moves("blocks", name)
    if kind == "layer_norm":
        return "ln_" in name
    return kind == "lora" and name.endswith(MATRICES)


def cut(settings, monkeypatch):
    """Run with a failure at the fifth step, whose last checkpoint is the fourth's, then again."""
    step, calls = TrainingStep.__call__, []

    def failing(self, *parts, **given):
        calls.append(1)
        if len(calls) == 5:
            raise RunError("loss is nan")
        return step(self, *parts, **given)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", failing)
        with pytest.raises(RunError):
            finetune(settings)
    return finetune(settings)


def assert_equal_runs(one, other, weights):
    saved = [load_file(run.folder / "model" / "model.safetensors") for run in (one, other)]
    for first, second in [(weights(one.folder), weights(other.folder)), saved]:
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert torch.equal(value, second[name]), name


@pytest.fixture(params=ADAPTERS)
def kind(request):
    return request.param


def test_what_a_kind_names_moves_and_the_rest_keeps_its_bits(
    config, kind, weights, monkeypatch, capfd
):
    """Under an objective that looks into the tower, in one go and cut in two."""
    changes = {"method": "tga_zsr", "objective": TGAZSR(), "steps": 5, "evaluate_every": 5}
    settings = config("whole", adapter=ADAPTERS[kind], **changes)
    run = finetune(settings)
    assert_equal_runs(run, cut(replace(settings, out=f"{run.folder}-cut"), monkeypatch), weights)
    original = load(settings.model).encoder.state_dict()
    tuned = load(str(run.folder))
    tower = tuned.encoder
    while kind.startswith("prompt") and hasattr(tower, "tower"):
        tower = tower.tower
    after = tower.state_dict()
    assert after.keys() == original.keys()
    for name, before in original.items():
        assert torch.equal(before, after[name]) != moves(kind, name), name
    assert tuned.method == f"tga_zsr[paper] + {ADAPTERS[kind].made.label}"
    assert tuned.adapter == ADAPTERS[kind]

    plain = sum(tensor.numel() for tensor in original.values())
    total = plain + (TRAINED[kind] if kind not in ("blocks", "first_blocks", "layer_norm") else 0)
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert (card["trained_parameters"], card["parameters"]) == (TRAINED[kind], total)
    share = f"{TRAINED[kind] / total:.2%}"
    said = f"trains {TRAINED[kind]:,} of {total:,} parameters of the image encoder ({share})"
    assert said in " ".join(capfd.readouterr().err.split())

    first, last, _ = read_metrics(run.folder / "metrics.jsonl")
    assert first["relative_l2_distance"] == 0
    assert last["grad_norm"] > 0
    # Maps of 224 x 224 values in [0, 1] would be 224 apart if nothing of them agreed.
    assert 0 < last["attention"] < 112
    squares = {name: float((after[name] - original[name]).double().pow(2).sum()) for name in after}
    size = sum(float(tensor.double().pow(2).sum()) for tensor in original.values())
    expected = (sum(squares.values()) / size) ** 0.5
    assert card["relative_l2_distance"] == pytest.approx(expected, rel=1e-5)
    assert (expected > 0) != kind.startswith("prompt")


def test_encoder_head_and_average_are_resumed_together(config, weights, monkeypatch):
    changes = {
        "method": "ft_adv",
        "objective": FTAdv(),
        "ema": 0.8,
        "adapter": ADAPTERS["lora"],
        "optimizer": Optimizer("adamw", lr=1e-3),
    }
    whole = finetune(config("whole", **changes))
    assert {"0.proj", "1.weight", "2.proj"} < weights(whole.folder).keys()
    label = "ft_adv + lora(rank=2) + ema(0.8)"
    assert load(str(whole.folder)).method == label
    assert_equal_runs(whole, cut(config("cut", **changes), monkeypatch), weights)


def test_a_prompt_is_not_fine_tuned_further(config):
    first = finetune(config("first", steps=1, adapter=ADAPTERS["prompt_padding"]))
    with pytest.raises(RequestError, match=r"has a visual prompt .* start from local-dir:"):
        finetune(config("second", model=str(first.folder)))


def test_lora_may_be_fine_tuned_further(config):
    first = finetune(config("first", steps=1, adapter=ADAPTERS["lora"]))
    second = finetune(config("second", steps=1, model=str(first.folder)))
    model = load(str(second.folder))
    assert model.method == "pmg_aft[authors_code] + lora(rank=2), then pmg_aft[authors_code]"
    assert model.adapter == Adapter("full")


def test_refusals_come_before_the_data_is_read(config):
    settings = config(adapter=Adapter("blocks", blocks=3), data="imagefolder:nowhere")
    with pytest.raises(RequestError, match=r"adapter.blocks is 3: must be at most 2"):
        finetune(settings)
    assert not (Path(settings.out) / "checkpoints").exists()
