"""Towers laid out anew are the same functions with the same weights."""

import copy

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.profiler import ProfilerActivity, profile

from zsrobust.models.layout import Patches, laid_out

SIDE = 24


def tower(**options):
    torch.manual_seed(0)
    vision = {"image_size": SIDE, "layers": 3, "width": 32, "head_width": 8, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    clip = open_clip.CLIP(16, {**vision, **options}, text)
    return clip.visual.double().eval()


@pytest.fixture
def images():
    return torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)).double()


KINDS = {
    "plain": {},
    "average": {"pool_type": "avg"},
    "attention pooling": {
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "attn_pooler_queries": 4,
    },
    "scaled attention": {"block_type": "custom", "scale_heads": True},
}


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("frozen", [True, False])
def test_embeddings_and_every_gradient_are_the_same(images, options, frozen):
    before = tower(**options)
    after = laid_out(copy.deepcopy(before))
    found = []
    for one in (before, after):
        one.requires_grad_(not frozen)
        pixels = images.clone().requires_grad_(True)
        embeddings = one(pixels)
        weights = [weight for weight in one.parameters() if weight.requires_grad]
        gradients = torch.autograd.grad(
            embeddings.square().sum(), [pixels, *weights], allow_unused=True
        )
        found.append([embeddings, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-10, atol=1e-10)


def test_weights_keep_their_names_and_values_and_it_is_the_same_when_done_twice(images):
    before = tower()
    after = laid_out(copy.deepcopy(before))
    state = after.state_dict()
    assert {name: value.tolist() for name, value in before.state_dict().items()} == {
        name: value.tolist() for name, value in state.items()
    }
    once = after(images)
    patches = after.conv1
    assert laid_out(after).conv1 is patches
    assert torch.equal(after(images), once)


def test_with_fixed_weights_no_sample_is_multiplied_by_itself(images):
    def small_products(one):
        pixels = images.clone().requires_grad_(True)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            torch.autograd.grad(one.requires_grad_(False)(pixels).sum(), pixels)
        return sum(event.count for event in seen.key_averages() if event.key == "aten::bmm")

    before = tower().float()
    images = images.float()
    assert small_products(before) >= 6, "torch multiplies better now, or this counts nothing"
    assert small_products(laid_out(before)) == 0


def test_patch_tokens_are_the_same(images):
    before = tower()
    after = laid_out(copy.deepcopy(before))
    asked = {"indices": 1, "normalize_intermediates": True, "output_fmt": "NLC"}
    one, other = (each.forward_intermediates(images, **asked) for each in (before, after))
    torch.testing.assert_close(other["image_features"], one["image_features"])
    torch.testing.assert_close(other["image_intermediates"], one["image_intermediates"])


def test_a_tower_inside_another_module_is_found():
    whole = nn.Sequential(nn.Identity(), tower())
    assert isinstance(laid_out(whole)[1].conv1, Patches)


@given(
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(4, 11), st.integers(4, 11)),
    bias=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_patches_are_the_convolution(window, size, bias):
    convolution = nn.Conv2d(2, 3, window, window, bias=bias).double()
    images = torch.rand(2, 2, *size).double()
    patches = Patches.of(convolution)
    torch.testing.assert_close(patches(images), convolution(images))
    assert patches.weight is convolution.weight
