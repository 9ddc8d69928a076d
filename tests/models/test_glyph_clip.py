import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from zsrobust.data.glyphs.sets import SETS, images_at
from zsrobust.models import glyph_clip
from zsrobust.models.glyph_clip import CONFIG, Tokenizer, build, shipped_vocabulary
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError

N = 240


@pytest.fixture(scope="module")
def model():
    return load("glyph-clip")


def images_of(name: str) -> torch.Tensor:
    pixels = images_at(name, "test", np.arange(N))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def accuracy(model, name: str) -> float:
    described = SETS[name]()
    classifier = model.classifier(described.class_names, described.templates).eval()
    labels = torch.arange(N) % len(described.class_names)
    return (classifier(images_of(name)).argmax(1) == labels).float().mean().item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [("capital-letters", 0.6), ("symbols", 0.5), ("colours", 0.9), ("kinds", 0.5)],
)
def test_sets_are_recognised_from_their_words(model, name: str, least: float) -> None:
    assert accuracy(model, name) > least


def test_pairs_of_colour_and_shape_that_no_training_image_had_are_recognised(model) -> None:
    assert accuracy(model, "coloured-shapes") > 0.5


def test_the_words_decide(model) -> None:
    described = SETS["colours"]()
    backwards = model.classifier(described.class_names[::-1], described.templates).eval()
    with torch.no_grad():
        found = backwards(images_of("colours")).argmax(1)
    labels = torch.arange(N) % len(described.class_names)
    assert (found == len(described.class_names) - 1 - labels).float().mean() > 0.9


def test_logits_are_open_clips_own(model) -> None:
    from safetensors.torch import load_file

    vocabulary = shipped_vocabulary()
    whole = build(vocabulary)
    whole.load_state_dict(load_file(glyph_clip.WEIGHTS))
    whole = whole.float().eval()
    prompts = ["a picture of a chess king", "a picture of a red circle"]
    images = images_of("chess")[:4]
    # As Pillow enlarges: one direction after the other, each cut back to what a pixel can be.
    how = {"mode": "bicubic", "align_corners": False, "antialias": True}
    wide = F.interpolate(images, size=(32, 64), **how).clamp(0, 1)
    grown = F.interpolate(wide, size=(64, 64), **how).clamp(0, 1)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.no_grad():
        seen, said, scale = whole((grown - mean) / std, Tokenizer(vocabulary)(prompts))[:3]
        classifier = model.classifier(["chess king", "red circle"]).eval()
        assert torch.allclose(classifier(images), scale * seen @ said.T, atol=2e-2)


def test_it_ships_small_and_in_half_precision() -> None:
    folder = Path(glyph_clip.__file__).parent
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    assert size < 12_000_000
    with safe_open(glyph_clip.WEIGHTS, "pt") as weights:
        kinds = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    assert kinds <= {torch.float16, torch.int64}


def test_its_configuration_is_open_clips() -> None:
    import open_clip

    config = json.loads(json.dumps(CONFIG))
    config["text_cfg"]["vocab_size"] = shipped_vocabulary().size
    own = open_clip.CLIP(**config).state_dict()
    assert {name: value.shape for name, value in own.items()} == {
        name: value.shape for name, value in build(shipped_vocabulary()).state_dict().items()
    }


@pytest.mark.parametrize("damage", ["cut", "absent", "garbage"])
def test_damaged_weights_are_refused(
    damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "glyph_clip.safetensors"
    content = glyph_clip.WEIGHTS.read_bytes()
    if damage != "absent":
        file.write_bytes(content[:-1000] if damage == "cut" else b"\0" * 5000)
    monkeypatch.setattr(glyph_clip, "WEIGHTS", file)
    with pytest.raises(RequestError, match="missing or damaged: install zsrobust again"):
        load("glyph-clip")


def test_a_longer_name_is_refused() -> None:
    with pytest.raises(RequestError, match="the embedded model is glyph-clip"):
        load("glyph-clip/large")


def test_the_card_says_what_the_weights_are(model) -> None:
    card = Path(glyph_clip.__file__).with_name("MODEL_CARD.md").read_text("utf-8")
    assert not re.search(r"\b[A-Z]+_[A-Z]\b|TABLE|RESULT", card)
    images = sum(value.numel() for value in model.encoder.parameters())
    assert f"{images:,} weights" in card
    assert f"logit scale {model.logit_scale:.1f}" in card
    assert f"{len(shipped_vocabulary().token_ids)} tokens" in card
    assert f"{glyph_clip.WEIGHTS.stat().st_size / 1e6:.1f} MB" in card
