import pytest
import torch
from torch import nn

from zsrobust.models.loading import load
from zsrobust.models.visual_prompts import check_has_tokens, embed_with_tokens
from zsrobust.utils.errors import RequestError

VARIANTS = {
    "plain": {},
    "averaged": {"vision_cfg": {"pool_type": "avg", "final_ln_after_pool": True}},
    "without projection": {"embed_dim": 32, "vision_cfg": {"pool_type": "tok"}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_embedding_is_that_of_the_plain_forward(architecture, name):
    architecture("variant", **VARIANTS[name])
    encoder = load("variant/random").encoder
    if name == "without projection":
        encoder.proj = None
    check_has_tokens(encoder, "variant")
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    embeddings, tokens = embed_with_tokens(encoder, pixels)
    assert torch.equal(embeddings, encoder(pixels))
    assert tokens.shape == (3, 4, embeddings.shape[1])
    with torch.no_grad():
        again = embed_with_tokens(encoder, pixels)
    assert torch.equal(again[0], embeddings)
    assert torch.equal(again[1], tokens)


def test_tokens_take_the_class_tokens_way_in_row_order(tiny):
    """Written out from the tower's parts, as far as the last block."""
    encoder = load(tiny).encoder
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        patches = encoder.conv1(pixels).flatten(2).mT
        first = encoder.class_embedding.expand(2, 1, -1)
        state = torch.cat([first, patches], 1) + encoder.positional_embedding
        state = encoder.transformer(encoder.ln_pre(state))
        expected = encoder.ln_post(state) @ encoder.proj
        embeddings, tokens = embed_with_tokens(encoder, pixels)
    torch.testing.assert_close(embeddings, expected[:, 0])
    torch.testing.assert_close(tokens, expected[:, 1:])


def test_gradients_reach_the_pixels_and_the_weights(tiny):
    encoder = load(tiny).encoder
    pixels = torch.rand(2, 3, 32, 32).requires_grad_(True)
    embed_with_tokens(encoder, pixels)[1].square().sum().backward()
    assert pixels.grad.abs().max() > 0
    assert encoder.proj.grad.abs().max() > 0


def test_towers_without_usable_tokens_are_refused(architecture):
    architecture("a-resnet", "resnet")
    resnet = load("a-resnet/random").encoder
    architecture("pooled", vision_cfg={"attentional_pool": True, "attn_pooler_heads": 2})
    pooled = load("pooled/random").encoder
    architecture("dropping", vision_cfg={"patch_dropout": 0.5})
    dropping = load("dropping/random").encoder
    for encoder in (resnet, pooled, dropping, nn.Flatten()):
        with pytest.raises(RequestError, match="model mine has no patch tokens") as refused:
            check_has_tokens(encoder, "mine")
        assert "ViT-B-32/openai" in str(refused.value)
