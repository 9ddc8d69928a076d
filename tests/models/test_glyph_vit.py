import json
import re
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from zsrobust.data.glyphs.sets import SETS, images_at
from zsrobust.models import glyph_clip, glyph_vit
from zsrobust.models.adapters.options import ADAPTERS
from zsrobust.models.loading import load
from zsrobust.models.visual_prompts import check_has_tokens, embed_with_tokens
from zsrobust.utils.errors import RequestError

VISION = glyph_vit.CONFIG["vision_cfg"]
WIDTH, LAYERS = VISION["width"], VISION["layers"]
PATCHES = (VISION["image_size"] // VISION["patch_size"]) ** 2


@pytest.fixture(scope="module")
def model():
    return load("glyph-vit")


def images_of(name: str, n: int = 120) -> torch.Tensor:
    pixels = images_at(name, "test", np.arange(n))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def enlarged(images: torch.Tensor) -> torch.Tensor:
    """As Pillow enlarges: one direction after the other, each cut back to what a pixel can be."""
    how = {"mode": "bicubic", "align_corners": False, "antialias": True}
    wide = F.interpolate(images, size=(32, 64), **how).clamp(0, 1)
    grown = F.interpolate(wide, size=(64, 64), **how).clamp(0, 1)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    return (grown - mean) / std


@pytest.mark.parametrize(
    ("name", "least"), [("capital-letters", 0.95), ("colours", 0.95), ("counts", 0.9)]
)
@torch.no_grad()
def test_sets_are_recognised_from_their_words(model, name: str, least: float) -> None:
    described = SETS[name]()
    classifier = model.classifier(described.class_names, described.templates).eval()
    found = classifier(images_of(name)).argmax(1)
    labels = torch.arange(len(found)) % len(described.class_names)
    assert (found == labels).float().mean() > least


def test_logits_are_open_clips_own(model) -> None:
    vocabulary = glyph_clip.shipped_vocabulary()
    config = json.loads(json.dumps(glyph_vit.CONFIG))
    config["text_cfg"]["vocab_size"] = vocabulary.size
    whole = open_clip.CLIP(**config)
    text = load_file(glyph_clip.WEIGHTS)
    tensors = {name: text[name] for name in text if not name.startswith("visual.")}
    whole.load_state_dict({**tensors, **load_file(glyph_vit.WEIGHTS)})
    whole = whole.float().eval()
    prompts = ["a picture of a chess king", "a picture of a red circle"]
    images = images_of("chess", 4)
    with torch.no_grad():
        seen, said, scale = whole(enlarged(images), glyph_clip.Tokenizer(vocabulary)(prompts))[:3]
        classifier = model.classifier(["chess king", "red circle"]).eval()
        assert torch.allclose(classifier(images), scale * seen @ said.T, atol=2e-2)


@torch.no_grad()
def test_an_image_is_where_glyph_clip_puts_it(model) -> None:
    images = images_of("symbols", 100)
    original = load("glyph-clip")
    pixels = model.preprocessing(images)
    ours, theirs = (F.normalize(one.encoder(pixels), dim=1) for one in (model, original))
    assert ours.shape == (100, glyph_clip.CONFIG["embed_dim"])
    nearest = (ours @ theirs.T).argmax(1)
    assert (nearest == torch.arange(100)).float().mean() > 0.8


def test_the_text_side_is_glyph_clips_and_is_stored_once(model) -> None:
    names, templates = ["chess king", "an elephant"], ["a picture of a {}"]
    original = load("glyph-clip")
    assert torch.equal(model.text.encode(names, templates), original.text.encode(names, templates))
    assert model.logit_scale == original.logit_scale
    stored = load_file(glyph_vit.WEIGHTS)
    assert all(name.startswith("visual.") for name in stored)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    assert glyph_vit.WEIGHTS.stat().st_size < 4_000_000


def test_it_costs_what_the_formula_of_a_transformer_says() -> None:
    encoder = load("glyph-vit").encoder.train()
    # The counter knows no other kernel of attention on a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        encoder(torch.zeros(1, 3, 64, 64))
    tokens = PATCHES + 1
    # Queries, keys, values, output and an MLP of four times the width; then the two products of
    # attention.
    block = 12 * tokens * WIDTH**2 + 2 * tokens**2 * WIDTH
    embedding = PATCHES * WIDTH * 3 * VISION["patch_size"] ** 2
    macs = embedding + LAYERS * block + WIDTH * glyph_clip.CONFIG["embed_dim"]
    assert counter.get_total_flops() == 2 * macs
    assert macs < 150e6


@torch.no_grad()
def test_the_projected_class_token_is_the_embedding(model) -> None:
    check_has_tokens(model.encoder, "glyph-vit")
    pixels = model.preprocessing(images_of("shapes", 3))
    embeddings, tokens = embed_with_tokens(model.encoder, pixels)
    assert tokens.shape == (3, PATCHES, glyph_clip.CONFIG["embed_dim"])
    torch.testing.assert_close(embeddings, model.encoder(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_every_adapter_trains_a_part_of_it(kind: str) -> None:
    fresh = load("glyph-vit")
    pixels = fresh.preprocessing(images_of("shapes", 2))
    with torch.no_grad():
        before = fresh.encoder(pixels)
    encoder = fresh.adapted_encoder(ADAPTERS[kind](), 0)
    found = encoder(pixels)
    if kind != "prompt_tokens":
        torch.testing.assert_close(found, before, atol=1e-4, rtol=1e-4)
    found.square().sum().backward()
    trained = sum(p.numel() for p in encoder.parameters() if p.grad is not None)
    assert trained > 0
    assert (kind == "full") == (trained == sum(p.numel() for p in encoder.parameters()))


@pytest.mark.parametrize("damage", ["cut", "absent", "garbage", "another"])
def test_damaged_weights_are_refused(
    damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "glyph_vit.safetensors"
    content = glyph_vit.WEIGHTS.read_bytes()
    if damage == "another":
        file.write_bytes(glyph_clip.WEIGHTS.read_bytes())
    elif damage != "absent":
        file.write_bytes(content[:-1000] if damage == "cut" else b"\0" * 5000)
    monkeypatch.setattr(glyph_vit, "WEIGHTS", file)
    with pytest.raises(
        RequestError, match=r"glyph-vit.*missing or damaged: install zsrobust again"
    ):
        load("glyph-vit")


def test_a_longer_name_is_refused() -> None:
    with pytest.raises(RequestError, match="the embedded ViT is glyph-vit"):
        load("glyph-vit/large")


def test_the_card_says_what_the_weights_are(model) -> None:
    card = Path(glyph_vit.__file__).with_name("MODEL_CARD.md").read_text("utf-8")
    assert not re.search(r"\b[A-Z]+_[A-Z]\b|TABLE|RESULT", card)
    assert f"{sum(value.numel() for value in model.encoder.parameters()):,} weights" in card
    assert f"{glyph_vit.WEIGHTS.stat().st_size / 1e6:.1f} MB" in card
