from copy import deepcopy

import open_clip
import pytest
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf

TINY_VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TINY_RESNET = {
    **TINY_VIT,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSROBUST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    monkeypatch.setattr("zsrobust.models.hub._answers", lambda url: False)


@pytest.fixture
def architecture(monkeypatch):
    """Registers a small architecture with open_clip under a name, changed as the test needs."""

    def add(name, base="vit", **changes):
        config = deepcopy(TINY_RESNET if base == "resnet" else TINY_VIT)
        for key, value in changes.items():
            if isinstance(value, dict):
                config.setdefault(key, {}).update(value)
            else:
                config[key] = value
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, config)
        return config

    return add


@pytest.fixture
def tiny(architecture):
    """The name of a small random CLIP, 32 pixels to 24 dimensions, 16 tokens of context."""
    architecture("tiny-vit")
    return "tiny-vit/random"


@pytest.fixture
def local_dir(tmp_path, architecture):
    """Writes a random model in the very format open_clip pushes to the hub."""

    class CLIPTokenizer:
        def save_pretrained(self, folder): ...

    def write(tokenizer=None, **changes):
        config = architecture("hub-format", **changes)
        model = open_clip.create_model("hub-format").eval()
        set_model_preprocess_cfg(model, {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)})
        folder = tmp_path / "hub-format"
        save_for_hf(model, tokenizer or CLIPTokenizer(), config, str(folder), True)
        return folder, model

    return write


@pytest.fixture
def whole(tiny):
    """A CLIP of open_clip whose image side is not that of ``tiny``, and whose text side is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model("tiny-vit").eval()
        torch.manual_seed(1)
        model.visual.load_state_dict(open_clip.create_model("tiny-vit").visual.state_dict())
    return model


@pytest.fixture
def visual(whole):
    """The state dict of its image side."""
    return whole.visual.state_dict()


@pytest.fixture
def saved(tmp_path):
    """Saves what torch can, and gives the name of tiny with it."""

    def save(content, file="tuned.pth.tar", **options):
        torch.save(content, tmp_path / file, **options)
        return f"tiny-vit/random@{tmp_path / file}"

    return save
