import json

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from zsrobust.export.checks import random_images, to_pixels
from zsrobust.export.command import export
from zsrobust.export.formats import FORMATS
from zsrobust.export.formats.transformers import _write_tokenizer
from zsrobust.export.request import ExportRequest
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
PROMPTS = ["a photo of a cat", "This is a photo of 12 red HOUSES, isn't it?", "x"]


def exported(run, tmp_path):
    return export(ExportRequest(run, "transformers", out=str(tmp_path / "out"))).folder


@pytest.fixture(params=["gelu", "quick_gelu"])
def both(request, source, tuned, tmp_path):
    """Our model, and the folder of its export, with either activation."""
    run = tuned(source(quick_gelu=request.param == "quick_gelu"))
    return load(run), exported(run, tmp_path)


@torch.no_grad()
def test_the_whole_model_and_the_image_tower_give_the_same(both):
    ours, folder = both
    shown = random_images(32, seed=3)
    want = ours.encoder(ours.preprocessing(to_pixels(shown)))
    processor = transformers.CLIPProcessor.from_pretrained(folder)
    seen = processor(images=shown, return_tensors="pt")
    tower = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    assert (tower(**seen).image_embeds - want).abs().max() < 1e-5 * want.abs().max()
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    read = processor(text=PROMPTS, return_tensors="pt", padding=True)
    found = model(**seen, **read)
    assert (found.image_embeds - F.normalize(want, dim=-1)).abs().max() < 1e-5
    vectors = torch.cat([ours.text.encode([prompt], ["{}"]) for prompt in PROMPTS])
    assert (found.text_embeds - vectors).abs().max() < 1e-5
    logits = ours.logit_scale * F.normalize(want, dim=-1) @ vectors.T
    assert (found.logits_per_image - logits).abs().max() < 1e-5 * ours.logit_scale


@torch.no_grad()
def test_hidden_states_are_those_of_every_block(both):
    """LLaVA takes the patch tokens of the last block but one."""
    ours, folder = both
    tower = transformers.CLIPVisionModel.from_pretrained(folder).eval()
    pixels = ours.preprocessing(to_pixels(random_images(32)))
    hidden = tower(pixels, output_hidden_states=True).hidden_states
    tokens = ours.encoder._embeds(pixels)
    assert len(hidden) == 4
    for index, theirs in enumerate(hidden):
        assert (theirs - tokens).abs().max() < 1e-5 * tokens.abs().max()
        if index < 3:
            tokens = ours.encoder.transformer.resblocks[index](tokens)


def test_the_pipeline_of_transformers_runs(source, tuned, tmp_path):
    """What its users write: one line, everything from the folder."""
    run = tuned(source(quick_gelu=True))
    ours, folder = load(run), exported(run, tmp_path)
    pipeline = transformers.pipeline("zero-shot-image-classification", model=str(folder))
    (picture, *_) = random_images(32)
    names = ["cat", "dog", "house"]
    found = {
        one["label"]: one["score"]
        for one in pipeline(picture, names, hypothesis_template="a picture of a {}")
    }
    classifier = ours.classifier(names, ["a picture of a {}"]).eval()
    want = classifier(to_pixels([picture])).softmax(-1)[0].tolist()
    assert [found[name] for name in names] == pytest.approx(want, abs=1e-5)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    _write_tokenizer(folder, 20)
    theirs = transformers.CLIPTokenizer.from_pretrained(folder)
    return open_clip.SimpleTokenizer(context_length=20), theirs


# No ampersand: the original unescapes HTML first, which transformers' tokenizer does not.
TEXT = st.text("abcXYZ 019.,'!?-éßñ", max_size=60)


@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_tokens_are_those_of_clip(tokenizers, text):
    original, theirs = tokenizers
    want = original([text])[0]
    got = theirs([text], truncation=True, padding=False)["input_ids"][0]
    end = int(want.argmax())
    assert got == want[: end + 1].tolist()


def test_the_authors_protocol_is_in_the_processor(source, tuned, tmp_path):
    run = tuned(source(), preprocessing="authors_code")
    folder = exported(run, tmp_path)
    settings_ = json.loads((folder / "preprocessor_config.json").read_text())
    assert settings_["image_mean"] == [0.485, 0.456, 0.406]
    assert settings_["size"] == {"height": 32, "width": 32}
    assert settings_["do_center_crop"] is False
    assert "NOT CLIP's preprocessing" in (folder / "README.md").read_text("utf-8")


ODD = {
    "a ModifiedResNet": {
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}
    },
    "does not take the class token alone": {"vision_cfg": {"pool_type": "avg"}},
    "has no norm before the blocks": {"vision_cfg": {"no_ln_pre": True}},
    "image tower scales its layers' outputs": {"vision_cfg": {"ls_init_value": 0.1}},
    "image tower has another activation": {"vision_cfg": {"act_kwargs": {"approximate": "tanh"}}},
    "text side scales its layers' outputs": {"text_cfg": {"ls_init_value": 0.1}},
    "text side is that of a CustomTextCLIP": {"custom_text": True},
    "not causal": {"text_cfg": {"no_causal_mask": True}},
    "read at the end token": {"text_cfg": {"pool_type": "last"}},
    "its tokenizer is not CLIP's": {"text_cfg": {"vocab_size": 49500}},
    "text projection is not one matrix": {"text_cfg": {"proj_bias": True}},
    "has blocks of another kind": {"vision_cfg": {"qk_norm": True}},
}


@pytest.mark.parametrize("reason", ODD)
def test_what_its_clip_cannot_express_is_refused(source, reason):
    model = load(source(**ODD[reason]))
    with pytest.raises(RequestError, match=f"transformers.*{reason}.*--to open_clip takes it"):
        FORMATS["transformers"].check(model, ExportRequest(model.name, "transformers"))


def test_without_the_library_the_extra_is_named(source, tuned, tmp_path, monkeypatch):
    run = tuned(source())
    monkeypatch.setattr("zsrobust.utils.extras.find_spec", lambda name: None)
    with pytest.raises(
        RequestError, match=r'not installed: pip install "zsrobust\[transformers\]"'
    ):
        exported(run, tmp_path)
