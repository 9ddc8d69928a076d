import json

import pytest
import torch
from huggingface_hub import constants
from tests.loopback_hub import Fault
from torch.nn import functional as F

from zsrobust.export.checks import random_images, to_pixels
from zsrobust.models.loading import load
from zsrobust.models.names import check_name
from zsrobust.models.weights import save_model
from zsrobust.utils.errors import RequestError

transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")

PROMPTS = ["a cat", "This is a photo of 12 red cats, isn't it?", "tabby", "a ca ta b"]
LETTERS = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
MERGES = [("c", "a"), ("ca", "t</w>"), ("t", "a"), ("ta", "b")]


def write_tokenizer(folder, start=510, end=511):
    """A byte-pair tokenizer of 512 tokens in CLIP's format."""
    words = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), *map("".join, MERGES)]
    ids = [at for at in range(512) if at not in (start, end)]
    vocabulary = dict(zip(words, ids, strict=False))
    vocabulary |= {"<|startoftext|>": start, "<|endoftext|>": end}
    for at in set(range(512)) - set(vocabulary.values()):
        vocabulary[f"unused{at}"] = at
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, MERGES)]))
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture
def saved(tmp_path):
    """A folder of a small random CLIP, as transformers' own save_pretrained leaves it."""

    def save(vision=None, text=None, start=510, end=511, processor=None, name="clip", **config):
        folder = tmp_path / name
        folder.mkdir()
        tower = {"num_hidden_layers": 2, "num_attention_heads": 2}
        made = transformers.CLIPConfig(
            vision_config={
                **tower,
                **{"hidden_size": 32, "intermediate_size": 80, "image_size": 32, "patch_size": 8},
                **(vision or {}),
            },
            text_config={
                **tower,
                **{"hidden_size": 16, "intermediate_size": 40, "vocab_size": 512},
                **{"max_position_embeddings": 16, "bos_token_id": start, "eos_token_id": end},
                **(text or {}),
            },
            **{"projection_dim": 24, **config},
        )
        with torch.random.fork_rng():
            torch.manual_seed(2)
            model = transformers.CLIPModel(made).eval()
            for parameter in model.parameters():  # Biases start at zero and scales at one.
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder)
        write_tokenizer(folder, start, end)
        side = made.vision_config.image_size
        transformers.CLIPImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            **(processor or {}),
        ).save_pretrained(folder)
        return folder, model

    return save


@torch.no_grad()
def theirs(folder, model, shown):
    """Unit embeddings of images and PROMPTS, by transformers alone."""
    processor = transformers.CLIPImageProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    read = tokenizer(PROMPTS, padding=True, truncation=True, return_tensors="pt", max_length=16)
    found = model(**processor(images=shown, return_tensors="pt"), **read)
    return found.image_embeds, found.text_embeds


@torch.no_grad()
def assert_same(folder, model, name=None):
    ours = load(name or f"transformers:{folder}")
    shown = random_images(ours.preprocessing.image_size, seed=4)
    images, texts = theirs(folder, model, shown)
    got = F.normalize(ours.encoder(ours.preprocessing(to_pixels(shown))), dim=-1)
    assert (got - images).abs().max() < 1e-5
    vectors = torch.cat([ours.text.encode([prompt], ["{}"]) for prompt in PROMPTS])
    assert (vectors - texts).abs().max() < 1e-5
    assert ours.logit_scale == pytest.approx(model.logit_scale.exp().item(), rel=1e-6)
    return ours


KINDS = {
    "as OpenAI's": {},
    "gelu": {"vision": {"hidden_act": "gelu"}, "text": {"hidden_act": "gelu"}},
    "larger": {"vision": {"image_size": 48, "patch_size": 12}, "projection_dim": 7},
    "another epsilon": {"vision": {"layer_norm_eps": 1e-2}, "text": {"layer_norm_eps": 1e-3}},
    "odd widths": {"vision": {"hidden_size": 98, "intermediate_size": 91}},
    "an end token of its own": {"start": 300, "end": 40},
    "the end token 2 of old configurations": {"text": {"eos_token_id": 2}},
    "other statistics": {"processor": {"image_mean": [0.5] * 3, "image_std": [0.3, 0.2, 0.1]}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_those_of_transformers(saved, kind):
    assert_same(*saved(**KINDS[kind]))


@pytest.mark.parametrize(
    ("settings", "loader"),
    [
        ({}, "clip"),
        ({"resample": 2}, "bilinear"),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, "squash"),
    ],
)
def test_photographs_are_resized_as_by_its_processor(saved, settings, loader):
    folder, _ = saved()
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    ours = load(f"transformers:{folder}")
    (shown,) = (one.resize((150, 90), 3) for one in random_images(120, seed=1)[:1])
    expected = transformers.CLIPImageProcessor.from_pretrained(folder)(shown, return_tensors="pt")
    difference = ours.preprocessing(to_pixels([shown])) - expected["pixel_values"]
    # Theirs rounds to 8 bits after each of two passes.
    assert difference.abs().max() <= 3 / 255 / 0.26
    assert ours.loader_resize == loader


def test_a_filter_that_is_not_available_is_said_to_be_replaced(saved, capfd):
    folder, _ = saved(processor={"resample": 1})
    model = load(f"transformers:{folder}")
    assert "is not available" in " ".join(capfd.readouterr().err.split())
    assert model.loader_resize == "clip"


def test_half_precision_and_pickled_weights_are_read(saved):
    folder, model = saved()
    (folder / "model.safetensors").unlink()
    half = {key: tensor.half() for key, tensor in model.state_dict().items()}
    torch.save(half, folder / "pytorch_model.bin")
    model.load_state_dict(half)
    assert_same(folder, model)


def test_a_fine_tuned_model_finds_its_source_from_anywhere(saved, tmp_path, monkeypatch):
    folder, _ = saved()
    monkeypatch.chdir(tmp_path)
    tuned = load("transformers:clip")
    with torch.no_grad():
        tuned.encoder.proj.mul_(2)
    save_model(tmp_path / "run" / "model", tuned, "tecoa")
    monkeypatch.chdir("/")
    back = load(str(tmp_path / "run"))
    assert torch.equal(back.encoder.proj, tuned.encoder.proj)
    assert back.source == f"transformers:{folder}"


REFUSED = {
    "has gelu and quick_gelu for activations": {"text": {"hidden_act": "gelu"}},
    "has relu for activations": {"vision": {"hidden_act": "relu"}, "text": {"hidden_act": "relu"}},
    "has images of 4 channels": {"vision": {"num_channels": 4}},
    "512 tokens, and its text side 500": {"text": {"vocab_size": 500}},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_open_clip_cannot_compute_is_refused(saved, reason):
    folder, _ = saved(**REFUSED[reason])
    with pytest.raises(RequestError, match=reason):
        load(f"transformers:{folder}")


@pytest.mark.parametrize("check", [check_name, load])
def test_another_type_of_model_is_named(tmp_path, check):
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    with pytest.raises(RequestError, match=r"is a model of type siglip, .*ViT-B-16-SigLIP"):
        check(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(RequestError, match=r"config.json is damaged"):
        check(f"transformers:{tmp_path}")
    (tmp_path / "config.json").unlink()
    with pytest.raises(RequestError, match=r"no config.json"):
        check(f"transformers:{tmp_path}")
    with pytest.raises(RequestError, match="there is no folder"):
        check(f"transformers:{tmp_path}/gone")


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("zsrobust.utils.extras.find_spec", lambda name: None)
    for place in (tmp_path, "openai/clip-vit-base-patch32"):
        with pytest.raises(RequestError, match=r'pip install "zsrobust\[transformers\]"'):
            check_name(f"transformers:{place}")


def test_incomplete_folders_are_refused(saved):
    folder, model = saved()
    (folder / "vocab.json").unlink()
    (folder / "merges.txt").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(RequestError, match=r"lacks its tokenizer.*CLIPProcessor.save_pretrained"):
        load(f"transformers:{folder}")
    vision = {k: t for k, t in model.state_dict().items() if not k.startswith("text")}
    model.save_pretrained(folder, state_dict=vision)
    with pytest.raises(RequestError, match=r"not a whole CLIP: \d+ tensors are missing.*text_"):
        load(f"transformers:{folder}")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RequestError, match="cannot be loaded"):
        load(f"transformers:{folder}")


def test_what_users_write_first_is_answered_with_the_name(saved):
    folder, _ = saved()
    with pytest.raises(RequestError, match=f"transformers:{folder}"):
        check_name(str(folder))
    with pytest.raises(RequestError, match="transformers:openai/clip-vit-base-patch32"):
        check_name("openai/clip-vit-base-patch32")


@pytest.fixture
def served(saved, loopback_hub):
    """A hub on loopback with the repository me/clip and a gated one; what it is asked."""
    folder, model = saved()
    (loopback_hub.root / "me").mkdir(parents=True)
    (loopback_hub.root / "me" / "clip").symlink_to(folder)
    loopback_hub.faults.append(Fault("me/gated", 403, "GatedRepo"))
    return folder, model, loopback_hub.asked


def test_a_repository_is_downloaded_once(served):
    folder, model, asked = served
    ours = assert_same(folder, model, "transformers:me/clip")
    assert ours.source == "transformers:me/clip"
    asked.clear()
    load("transformers:me/clip")
    assert not asked


def test_pickled_weights_come_where_there_are_no_others(served):
    folder, model, _ = served
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert_same(folder, model, "transformers:me/clip")


def test_another_type_is_refused_before_its_weights_come(served):
    folder, _, asked = served
    (folder / "config.json").write_text('{"model_type": "blip"}')
    with pytest.raises(RequestError, match="is a model of type blip"):
        load("transformers:me/clip")
    assert not [one for one in asked if "safetensors" in one.path]


def test_a_gate_and_a_missing_repository_are_said(served):
    with pytest.raises(RequestError, match=r"accept the conditions at http.*/me/gated .*hf auth"):
        load("transformers:me/gated")
    with pytest.raises(RequestError, match=r"/me/gone does not exist, or is private"):
        load("transformers:me/gone")


def test_offline_the_command_that_downloads_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(RequestError, match="hf download me/clip"):
        load("transformers:me/clip")
