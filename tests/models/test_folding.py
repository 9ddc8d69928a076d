"""A folded tower computes what the tower computes, with fewer layers."""

import copy

import pytest
import timm
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from zsrobust.models.adapters.options import Adapter
from zsrobust.models.folding import folded, folded_in_training
from zsrobust.models.loading import load
from zsrobust.models.photo_lite import CentredTower


def resnet():
    """CLIP's, two blocks in its first stage."""
    return ModifiedResNet([2, 1, 1, 1], output_dim=8, heads=2, image_size=64, width=4)


def photo_lite():
    """Its image side with random weights."""
    tower = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    return CentredTower(tower, torch.randn(1280))


@pytest.fixture(params=[resnet, photo_lite])
def tower(request):
    """BatchNorm's four tensors all drawn; in double precision, so no rounding crosses a kink."""
    torch.manual_seed(0)
    tower = request.param().double().eval()
    for module in tower.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                values.data.uniform_(0.5, 2)
            for values in (module.bias, module.running_mean):
                values.data.normal_()
    return tower


def test_same_embeddings_and_the_same_gradient_to_the_images(tower):
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    weights = torch.randn_like(tower(images))
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    found = {}
    for name, one in (("plain", tower), ("folded", folded(tower))):
        embeddings = one(images)
        (gradient,) = torch.autograd.grad((embeddings * weights).sum(), images)
        found[name] = embeddings.detach(), gradient
    for plain, short in zip(found["plain"], found["folded"], strict=True):
        torch.testing.assert_close(short, plain, rtol=1e-8, atol=1e-9 * float(plain.abs().max()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in tower.state_dict().items())


@pytest.mark.slow
def test_in_training_every_weight_has_the_same_gradient_also_once_it_has_moved(tower):
    plain, short = tower, folded_in_training(copy.deepcopy(tower))
    assert [one.shape for one in short.parameters()] == [one.shape for one in plain.parameters()]
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64)
    weights = torch.randn_like(plain(images))
    for _ in range(2):
        for one in (plain, short.train()):
            one.zero_grad()
            (one(images) * weights).sum().backward()
        most = max(float(one.grad.abs().max()) for one in plain.parameters())
        with torch.no_grad():
            for ours, expected in zip(short.parameters(), plain.parameters(), strict=True):
                torch.testing.assert_close(ours.grad, expected.grad, rtol=1e-6, atol=1e-11 * most)
                step = 0.1 * expected.grad / most
                ours -= step
                expected -= step
    for name, before in short.encoder.named_buffers():
        assert torch.equal(before, plain.get_buffer(name)), "stored statistics stay"


def test_in_training_weights_that_are_computed_stay_as_they_are():
    model = load("glyph-clip")
    tower = model.adapted_encoder(Adapter(kind="lora", rank=2).made, 0)
    assert folded_in_training(tower) is tower


@pytest.mark.parametrize(
    ("make", "norms"),
    [
        # The stem's three, three a block, and one where a block changes the number of channels.
        (resnet, 3 + 3 * 5 + 4),
        # The stem's and the head's, two in the first block, which does not widen, three in others.
        (photo_lite, 2 + 2 + 3 * 15),
    ],
)
def test_no_batch_norm_is_left(make, norms):
    def count(one):
        return sum(isinstance(module, nn.BatchNorm2d) for module in one.modules())

    tower = make()
    assert count(tower) == norms
    assert count(folded(tower)) == 0


def test_other_towers_come_back_as_they_are():
    tower = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    assert folded(tower) is tower


def test_memory_format_changes_no_embedding_by_more_than_rounding():
    encoder = load("glyph-clip").encoder.double()
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        last = encoder(images)
        usual = encoder.to(memory_format=torch.contiguous_format)(images)
    torch.testing.assert_close(last, usual, rtol=1e-8, atol=1e-9 * float(usual.abs().max()))
