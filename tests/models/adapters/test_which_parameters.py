"""Each kind trains what it names and nothing else, on towers of every family."""

import pytest
import timm
import torch
from open_clip.timm_model import TimmModel
from torch import nn

from zsrobust.models.adapters.blocks import Blocks
from zsrobust.models.adapters.first_blocks import FirstBlocks
from zsrobust.models.adapters.full import Full
from zsrobust.models.adapters.layer_norm import LayerNorm
from zsrobust.models.adapters.lora import LoRA
from zsrobust.models.photo_lite import CentredTower
from zsrobust.models.tower_blocks import blocks_of
from zsrobust.utils.errors import RequestError

NORMS = ("ln_1", "ln_2")
VIT_BLOCK = {
    *(f"{norm}.{part}" for norm in NORMS for part in ("weight", "bias")),
    *(f"attn.in_proj_{part}" for part in ("weight", "bias")),
    *(f"attn.out_proj.{part}" for part in ("weight", "bias")),
    *(f"mlp.{layer}.{part}" for layer in ("c_fc", "c_proj") for part in ("weight", "bias")),
}
VIT_END = {"ln_post.weight", "ln_post.bias", "proj"}
VIT_START = {"conv1.weight", "class_embedding", "positional_embedding"}
VIT_START |= {"ln_pre.weight", "ln_pre.bias"}
BOTTLENECK = {
    *(f"conv{index}.weight" for index in (1, 2, 3)),
    *(f"bn{index}.{part}" for index in (1, 2, 3) for part in ("weight", "bias")),
    *("downsample.0.weight", "downsample.1.weight", "downsample.1.bias"),
}
ATTNPOOL = {
    "attnpool.positional_embedding",
    *(f"attnpool.{side}_proj.{part}" for side in "kqvc" for part in ("weight", "bias")),
}


def block(index):
    return {f"transformer.resblocks.{index}.{name}" for name in VIT_BLOCK}


def test_full_is_all_of_it(vit, trained):
    assert trained(vit.adapted_encoder(Full(), 0)) == VIT_START | block(0) | block(1) | VIT_END


def test_the_last_blocks_of_a_vit(vit, trained):
    assert trained(vit.adapted_encoder(Blocks(1), 0)) == block(1) | VIT_END


def test_all_blocks_of_a_vit_are_not_yet_all(vit, trained):
    assert trained(vit.adapted_encoder(Blocks(2), 0)) == block(0) | block(1) | VIT_END


def test_the_last_blocks_of_a_resnet(resnet, trained):
    stages = ("layer3.0", "layer4.0")
    expected = {f"{stage}.{name}" for stage in stages for name in BOTTLENECK} | ATTNPOOL
    assert trained(resnet.adapted_encoder(Blocks(2), 0)) == expected


def test_blocks_are_counted_over_the_stages_of_a_resnet(around, resnet_tower, trained):
    found = trained(around(resnet_tower([1, 1, 3, 2])).adapted_encoder(Blocks(3), 0))
    stages = {name.rsplit(".", 2)[0].removesuffix(".downsample") for name in found - ATTNPOOL}
    assert stages == {"layer3.2", "layer4.0", "layer4.1"}


def test_the_last_blocks_of_photo_lite_s_tower(around, trained):
    tower = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    found = trained(around(CentredTower(tower, torch.zeros(1280))).adapted_encoder(Blocks(2), 0))
    layers = {name.removeprefix("tower.").rpartition(".")[0] for name in found}
    inverted = {f"{part}" for part in ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")}
    ends = {f"blocks.{at}.{part}" for at in ("5.3", "6.0") for part in inverted}
    assert layers == {*ends, "conv_head", "bn2"}


def test_the_last_block_of_a_vit_of_timm(around, trained):
    tower = TimmModel("vit_tiny_patch16_224", embed_dim=8, image_size=224)
    found = trained(around(tower).adapted_encoder(Blocks(1), 0))
    parts = {name.rpartition(".")[0] for name in found}
    inner = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    assert parts == {*(f"trunk.blocks.11.{name}" for name in inner), "trunk.norm", "head.proj"}


def test_what_lies_between_two_blocks_goes_with_the_first(around, trained):
    def stages(count):
        tower = TimmModel("convnext_atto", embed_dim=8, image_size=224, pool="", proj="linear")
        found = trained(around(tower).adapted_encoder(Blocks(count), 0))
        return {name.removeprefix("trunk.").split(".")[1:3][0] + "." + name.split(".")[3]
                for name in found if name.startswith("trunk.stages")}  # fmt: skip

    assert stages(2) == {"3.blocks"}
    assert stages(3) == {"2.blocks", "3.downsample", "3.blocks"}


def test_the_first_blocks_of_a_vit(vit, trained):
    assert trained(vit.adapted_encoder(FirstBlocks(1), 0)) == VIT_START | block(0)


def test_the_beginning_of_a_vit_without_a_block(vit, trained):
    assert trained(vit.adapted_encoder(FirstBlocks(0), 0)) == VIT_START


def test_the_stem_and_first_stage_of_a_resnet(resnet, trained):
    stem = {f"conv{at}.weight" for at in (1, 2, 3)}
    stem |= {f"bn{at}.{part}" for at in (1, 2, 3) for part in ("weight", "bias")}
    expected = stem | {f"layer1.0.{name}" for name in BOTTLENECK}
    assert trained(resnet.adapted_encoder(FirstBlocks(1), 0)) == expected


@pytest.mark.parametrize(
    "make",
    [
        lambda: CentredTower(timm.create_model("tf_efficientnet_lite0"), torch.zeros(1000)),
        lambda: TimmModel("vit_tiny_patch16_224", embed_dim=8, image_size=224),
        lambda: TimmModel("convnext_atto", embed_dim=8, image_size=224, pool="", proj="linear"),
    ],
)
@pytest.mark.parametrize("count", [0, 2])
def test_first_and_last_blocks_are_all_of_a_tower(around, trained, make, count):
    tower = make()
    total = len(blocks_of(tower, "any"))
    every = {name for name, _ in tower.named_parameters()}
    first = trained(around(tower).adapted_encoder(FirstBlocks(count), 0))
    last = trained(around(make()).adapted_encoder(Blocks(total - count), 0))
    assert first
    assert not first & last
    assert first | last == every


def test_all_blocks_are_not_the_first(vit):
    with pytest.raises(RequestError, match=r"adapter.blocks is 2: must be below 2, .* tiny-vit"):
        vit.adapted_encoder(FirstBlocks(2), 0)
    with pytest.raises(RequestError, match=r"adapter.blocks is -1: must be 0 or more"):
        FirstBlocks(-1)


def test_more_blocks_than_there_are(vit, resnet, around):
    with pytest.raises(RequestError, match=r"adapter.blocks is 3: must be at most 2, .* tiny-vit"):
        vit.adapted_encoder(Blocks(3), 0)
    with pytest.raises(
        RequestError, match=r"adapter.blocks is 9: must be at most 4, .* tiny-resnet"
    ):
        resnet.adapted_encoder(Blocks(9), 0)
    for kind in (Blocks(), LoRA()):
        with pytest.raises(RequestError, match=r"mine has an image tower without blocks .*Linear"):
            around(nn.Linear(2, 2)).adapted_encoder(kind, 0)


def test_layer_norms_of_a_vit(vit, trained):
    blocks = {f"transformer.resblocks.{at}.{norm}" for at in (0, 1) for norm in NORMS}
    norms = {*blocks, "ln_pre", "ln_post"}
    expected = {f"{norm}.{part}" for norm in norms for part in ("weight", "bias")}
    assert trained(vit.adapted_encoder(LayerNorm(), 0)) == expected


def test_towers_without_layer_norm(resnet, around):
    with pytest.raises(RequestError, match=r"tiny-resnet has no LayerNorm .*are BatchNorms"):
        resnet.adapted_encoder(LayerNorm(), 0)
    with pytest.raises(RequestError, match=r"mine has no LayerNorm .*nor any BatchNorm"):
        around(nn.Linear(2, 2)).adapted_encoder(LayerNorm(), 0)


def test_lora_trains_its_factors_alone(vit, resnet, trained):
    matrices = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight")
    expected = set()
    for at in (0, 1):
        for matrix in (*matrices, "mlp.c_proj.weight"):
            module, _, weight = f"transformer.resblocks.{at}.{matrix}".rpartition(".")
            change = f"{module}.parametrizations.{weight}.0"
            expected |= {f"{change}.down", f"{change}.up"}
    assert trained(vit.adapted_encoder(LoRA(), 0)) == expected
    convolutions = ("conv1", "conv3", "downsample.0")
    assert trained(resnet.adapted_encoder(LoRA(), 0)) == {
        f"layer{stage}.0.{name}.parametrizations.weight.0.{factor}"
        for stage in (1, 2, 3, 4)
        for name in convolutions
        for factor in ("down", "up")
    }


def test_what_the_architecture_fixes_stays_fixed(around, vit_tower, trained):
    found = trained(around(vit_tower(pos_embed_type="sin_cos_2d")).adapted_encoder(Full(), 0))
    assert VIT_START - found == {"positional_embedding"}
    tower = vit_tower()
    tower.transformer.resblocks[1].ln_1.bias.requires_grad_(False)
    expected = (block(1) | VIT_END) - {"transformer.resblocks.1.ln_1.bias"}
    assert trained(around(tower).adapted_encoder(Blocks(1), 0)) == expected
