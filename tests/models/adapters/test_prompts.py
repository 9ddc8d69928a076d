import copy

import pytest
import torch
from torch import nn

from zsrobust.models.adapters.prompt_padding import PromptPadding
from zsrobust.models.adapters.prompt_tokens import PromptTokens
from zsrobust.models.visual_prompts import embed_with_tokens
from zsrobust.training.encoder import relative_l2_distance
from zsrobust.utils.errors import RequestError


def pixels(side=32):
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))


class Seen(nn.Module):
    """A tower whose embedding is the image it is shown."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return images * self.weight


def test_the_frame_lies_where_it_should(around):
    side, width = 9, 2
    encoder = around(Seen(), side).adapted_encoder(PromptPadding(width), 0)
    values = {"top": 1.0, "bottom": 2.0, "left": 3.0, "right": 4.0}
    with torch.no_grad():
        for name, value in values.items():
            getattr(encoder, name).fill_(value)
        seen = encoder(pixels(side)) - pixels(side)
    for row in range(side):
        for column in range(side):
            added = (
                1.0 if row < width
                else 2.0 if row >= side - width
                else 3.0 if column < width
                else 4.0 if column >= side - width
                else 0.0
            )  # fmt: skip
            torch.testing.assert_close(
                seen[:, :, row, column], torch.full((3, 3), added), atol=1e-6, rtol=0
            )
    count = sum(part.numel() for part in encoder.parameters() if part.requires_grad)
    assert count == 3 * (side**2 - (side - 2 * width) ** 2)


def test_the_middle_is_untouched_and_every_pixel_has_a_gradient(around):
    encoder = around(Seen(), 10).adapted_encoder(PromptPadding(3), 0)
    with torch.no_grad():
        for part in (encoder.top, encoder.bottom, encoder.left, encoder.right):
            part.normal_(generator=torch.Generator().manual_seed(1))
    images = pixels(10).requires_grad_(True)
    seen = encoder(images)
    assert torch.equal(seen[..., 3:7, 3:7], images[..., 3:7, 3:7])
    (gradient,) = torch.autograd.grad(seen.sum(), images)
    assert torch.equal(gradient, torch.ones_like(images))


def test_a_frame_starts_from_the_original(vit):
    with torch.no_grad():
        before = vit.encoder(pixels())
        assert torch.equal(vit.adapted_encoder(PromptPadding(4), 0)(pixels()), before)


def test_a_frame_needs_a_middle(vit):
    assert vit.adapted_encoder(PromptPadding(15), 0).middle == 2
    with pytest.raises(
        RequestError, match=r"adapter.width is 16: must be below half of 32, .*tiny"
    ):
        vit.adapted_encoder(PromptPadding(16), 0)
    with pytest.raises(RequestError, match=r"adapter.width is 16: must be below half of 32"):
        vit.adapted_encoder(PromptTokens(2, width=16), 0)


def test_only_the_prompt_is_trained(vit, trained):
    other = copy.deepcopy(vit)
    assert trained(other.adapted_encoder(PromptPadding(4), 0)) == {"top", "bottom", "left", "right"}
    with_frame = vit.adapted_encoder(PromptTokens(5, width=4), 0)
    assert trained(with_frame) == {"top", "bottom", "left", "right", "tower.prompt"}
    assert with_frame.tower.prompt.shape == (5, 32)


VARIANTS = {
    "plain": {},
    "averaged": {"pool_type": "avg", "final_ln_after_pool": True},
    "no first norm": {"no_ln_pre": True},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_tokens_enter_after_the_class_token(around, vit_tower, name):
    """Written out from the tower's parts, prompts joined before the first norm."""
    original = vit_tower(**VARIANTS[name]).eval()
    encoder = around(vit_tower(**VARIANTS[name])).adapted_encoder(PromptTokens(3), 5)
    with torch.no_grad():
        patches = original.conv1(pixels()).flatten(2).mT
        positions = original.positional_embedding
        first = (original.class_embedding + positions[0]).expand(3, 1, -1)
        prompts = encoder.prompt.expand(3, -1, -1)
        state = torch.cat([first, prompts, patches + positions[1:]], 1)
        state = original.transformer(original.ln_pre(state))
        tokens = original.ln_post(state[:, 4:]) @ original.proj
        pooled = original.ln_post(state[:, 0]) @ original.proj
        if name == "averaged":
            pooled = original.ln_post(state[:, 4:].mean(1)) @ original.proj
        torch.testing.assert_close(encoder(pixels()), pooled)
        both = embed_with_tokens(encoder, pixels())
        torch.testing.assert_close(both[0], pooled)
        torch.testing.assert_close(both[1], tokens)
        assert not torch.allclose(pooled, original(pixels()), atol=1e-3)


def test_tokens_of_a_framed_image(vit):
    original = copy.deepcopy(vit.encoder)
    encoder = vit.adapted_encoder(PromptPadding(4), 0)
    with torch.no_grad():
        encoder.top.add_(0.5)
        shown = pixels()
        shown[:, :, :4] += 0.5
        expected = embed_with_tokens(original, shown)
        for found, wanted in zip(embed_with_tokens(encoder, pixels()), expected, strict=True):
            torch.testing.assert_close(found, wanted)


def test_first_tokens_are_normal_and_a_function_of_the_seed(vit):
    drawn = [vit.adapted_encoder(PromptTokens(200), seed).prompt for seed in (0, 0, 1)]
    drawn = [values.detach() for values in drawn]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # 6,400 values: mean and deviation within five standard errors.
    assert abs(float(drawn[0].mean())) < 5 / 80
    assert abs(float(drawn[0].std()) - 1) < 5 / 113


def test_towers_without_a_place_for_tokens(resnet):
    with pytest.raises(RequestError, match=r"tiny-resnet has no place for prompt tokens"):
        resnet.adapted_encoder(PromptTokens(), 0)


def test_a_prompt_moves_no_weight(vit):
    original = copy.deepcopy(vit.encoder)
    encoder = vit.adapted_encoder(PromptTokens(2, width=3), 0)
    with torch.no_grad():
        encoder.top.add_(1.0)
    assert relative_l2_distance(encoder, original) == 0
