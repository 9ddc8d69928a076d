"""Small models of every kind of open_clip's towers, moved away from their source."""

from copy import deepcopy

import open_clip
import pytest
import torch
from open_clip.model import set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_for_hf

from zsrobust.models.loading import load
from zsrobust.models.weights import save_model

VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    monkeypatch.setattr("zsrobust.models.hub._answers", lambda url: False)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """The name of a small random CLIP in open_clip's format, changed as the test needs."""

    class CLIPTokenizer:
        def save_pretrained(self, folder): ...

    def make(tokenizer=None, mean=None, **changes):
        config = deepcopy(VIT)
        for key, value in changes.items():
            # A tower with a width of its own is another one altogether.
            if isinstance(value, dict) and "width" not in value:
                config[key].update(value)
            else:
                config[key] = value
        folder = tmp_path / "sources" / f"clip-{len(list(tmp_path.glob('sources/*')))}"
        with torch.random.fork_rng():
            torch.manual_seed(5)
            monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "made", deepcopy(config))
            model = open_clip.create_model("made", pretrained_text=False).eval()
        if mean is not None:
            set_model_preprocess_cfg(model, {"mean": mean, "std": (0.2, 0.3, 0.4)})
        save_for_hf(model, tokenizer or CLIPTokenizer(), config, str(folder), True)
        return f"local-dir:{folder}"

    return make


@pytest.fixture
def tuned(tmp_path):
    """A run folder whose model has other image weights than its source; every float moved."""

    def make(name, method="pmg_aft[paper]", preprocessing=None, run="run", **changes):
        model = load(name, preprocessing=preprocessing)
        for key, value in changes.items():
            setattr(model, key, value)
        if model.adapter.made.keeps_prompt:
            model.encoder = model.adapted_encoder(model.adapter.made, seed=0)
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for tensor in model.encoder.state_dict().values():
                if tensor.is_floating_point():
                    tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=generator))
            # What starts at zero, such as a frame, would stay there.
            for parameter in model.encoder.parameters():
                parameter.add_(0.01 * torch.rand(parameter.shape, generator=generator) + 1e-3)
        save_model(tmp_path / run / "model", model, method)
        return str(tmp_path / run)

    return make
