from typing import get_args, get_type_hints

import pytest
import torch
import yaml

from zsrobust.config.identity import deciding, recipe_hash, run_name
from zsrobust.config.parsing import parse_finetune
from zsrobust.config.schema import FinetuneConfig, to_plain
from zsrobust.models.adapters.options import ADAPTERS, Adapter
from zsrobust.models.low_rank import LowRank
from zsrobust.utils.errors import RequestError

GIVEN = ["--config", "tecoa", "--model", "m", "--data", "digits"]


def test_the_command_line_knows_every_kind():
    assert get_args(get_type_hints(Adapter)["kind"]) == tuple(ADAPTERS)


@pytest.mark.parametrize(
    ("arguments", "options", "label"),
    [
        ("--adapter.kind full", {}, "full"),
        ("", {}, "full"),
        ("--adapter.kind blocks", {"blocks": 1}, "blocks(1)"),
        ("--adapter.kind blocks --adapter.blocks 3", {"blocks": 3}, "blocks(3)"),
        ("--adapter.kind first_blocks", {"blocks": 1}, "first_blocks(1)"),
        ("--adapter.kind layer_norm", {}, "layer_norm"),
        ("--adapter.kind lora", {"rank": 8, "alpha": 8.0}, "lora(rank=8)"),
        (
            "--adapter.kind lora --adapter.rank 4 --adapter.alpha 16",
            {"rank": 4, "alpha": 16.0},
            "lora(rank=4, alpha=16.0)",
        ),
        ("--adapter.kind prompt_padding", {"width": 30}, "prompt_padding(width=30)"),
        ("--adapter.kind prompt_tokens", {"tokens": 10, "width": 0}, "prompt_tokens(10)"),
        (
            "--adapter.kind prompt_tokens --adapter.width 30",
            {"tokens": 10, "width": 30},
            "prompt_tokens(10, width=30)",
        ),
    ],
)
def test_defaults_are_those_of_the_kind_and_read_back(tmp_path, arguments, options, label):
    found = parse_finetune([*GIVEN, *arguments.split()])
    assert found.adapter.options == options
    assert found.adapter.made.label == label
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_plain(found)))
    assert parse_finetune(["--config", str(path)]) == found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--adapter.kind mine", "adapter.kind is mine: must be one of blocks, first_blocks"),
        ("--adapter.rank 4", "adapter.rank is 4: must be left out, or null: adapter.kind full has"),
        ("--adapter.kind lora --adapter.width 4", "adapter.width is 4: must be left out, or null"),
        ("--adapter.kind lora --adapter.rank 0", "adapter.rank is 0: must be 1 or more"),
        ("--adapter.kind lora --adapter.alpha 0", "adapter.alpha is 0.0: must be above 0"),
        ("--adapter.kind lora --adapter.alpha .inf", "adapter.alpha is inf: must be above 0"),
        ("--adapter.kind blocks --adapter.blocks 0", "adapter.blocks is 0: must be 1 or more"),
        ("--adapter.kind prompt_padding --adapter.width 0", "adapter.width is 0: must be 1 or"),
        ("--adapter.kind prompt_tokens --adapter.tokens 0", "adapter.tokens is 0: must be 1 or"),
        ("--adapter.kind prompt_tokens --adapter.width=-1", "adapter.width is -1: must be 0 or"),
        ("--adapter.knd lora", "there is no option --adapter.knd; did you mean --adapter.kind"),
        ("--ema 1", "ema is 1.0: must be between 0 and 1, or null for none"),
        ("--ema 0", "ema is 0.0: must be between 0 and 1, or null for none"),
        (
            "--batch_norm train --adapter.kind lora",
            "batch_norm is train: must be frozen with adapter.kind lora",
        ),
    ],
)
def test_bad_words_are_named(arguments, message):
    with pytest.raises(RequestError) as refused:
        parse_finetune([*GIVEN, *arguments.split()])
    assert message in str(refused.value)


def test_python_has_the_same_checks():
    with pytest.raises(RequestError, match=r"adapter.rank is 2.5: must be int, or null"):
        Adapter("lora", rank=2.5)
    with pytest.raises(
        RequestError, match=r"adapter.kind is 'mine': must be one of blocks, first_blocks"
    ):
        Adapter("mine")


def test_it_decides_a_run():
    def config(**changes):
        return FinetuneConfig(model="m", data="d", **changes)

    made = [
        config(),
        config(ema=0.9),
        *(config(adapter=Adapter(kind)) for kind in ADAPTERS if kind != "full"),
        config(adapter=Adapter("lora", rank=4)),
    ]
    assert len({recipe_hash(one) for one in made}) == len(made)
    assert len({run_name(one) for one in made}) == len(made)
    assert recipe_hash(config(adapter=Adapter("full"))) == recipe_hash(config())
    assert deciding(made[-1])["adapter"]["rank"] == 4


def test_new_parameters_lie_where_the_encoder_does(around, vit_tower):
    for adapter in (Adapter("prompt_padding"), Adapter("prompt_tokens", width=3)):
        encoder = around(vit_tower().to("meta"), side=64).adapted_encoder(adapter.made, 0)
        assert {part.device.type for part in encoder.parameters()} == {"meta"}
    change = LowRank(torch.empty(4, 3, device="meta"), 2, 1.0, torch.Generator())
    assert {part.device.type for part in change.parameters()} == {"meta"}
