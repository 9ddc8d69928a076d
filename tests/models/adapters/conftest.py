from types import SimpleNamespace

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer

from zsrobust.models.clip import CLIPModel
from zsrobust.models.preprocessing import Preprocessing


@pytest.fixture
def around():
    """A model around any encoder; without a text side."""

    def make(encoder, side=32, name="mine"):
        text = SimpleNamespace(fingerprint="same")
        return CLIPModel(name, encoder.eval(), text, Preprocessing("clip", side), 1.0)

    return make


@pytest.fixture
def vit_tower():
    """A ViT of open_clip: 2 blocks of width 32, 4 patches of 16 px, always the same weights."""

    def make(**changes):
        sizes = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "heads": 2}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return VisionTransformer(**{**sizes, "mlp_ratio": 4, "output_dim": 24, **changes})

    return make


@pytest.fixture
def resnet_tower():
    """A ResNet of open_clip for 64 px, one block a stage unless told otherwise."""

    def make(layers=(1, 1, 1, 1)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return ModifiedResNet(list(layers), output_dim=24, heads=2, image_size=64, width=16)

    return make


@pytest.fixture
def vit(around, vit_tower):
    return around(vit_tower(), name="tiny-vit")


@pytest.fixture
def resnet(around, resnet_tower):
    return around(resnet_tower(), 64, name="tiny-resnet")


@pytest.fixture
def trained():
    """Names of the parameters of an encoder that an optimizer would get."""

    def names(encoder):
        return {name for name, part in encoder.named_parameters() if part.requires_grad}

    return names
