"""What may leave: models whose weights say all that they compute; and nothing that disagrees."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from zsrobust.export.checks import largest_difference, random_images, require_known, to_pixels
from zsrobust.export.command import export
from zsrobust.export.format import Loaded
from zsrobust.export.formats import FORMATS
from zsrobust.export.request import ExportRequest
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError, RunError


class Prompted(nn.Module):
    """A tower behind a trained frame."""

    def __init__(self, tower):
        super().__init__()
        self.tower = tower
        self.frame = nn.Parameter(torch.zeros(3, 32, 32))

    def forward(self, pixels):
        return self.tower(pixels + self.frame)


class Halved(nn.Module):
    def forward(self, weight):
        return weight / 2


class Greyed(nn.Module):
    def __init__(self, preprocessing):
        super().__init__()
        self.inner = preprocessing

    def forward(self, images):
        return self.inner(images.mean(1, keepdim=True).expand_as(images))


def prompted(model):
    model.encoder = Prompted(model.encoder)


def parametrized(model):
    parametrize.register_parametrization(model.encoder.conv1, "weight", Halved())


def greyed(model):
    model.preprocessing = Greyed(model.preprocessing)


@pytest.mark.parametrize("change", [prompted, parametrized, greyed])
def test_what_is_not_known_here_is_refused(source, change):
    model = load(source(quick_gelu=True))
    require_known(model)
    change(model)
    for name, form in FORMATS.items():
        with pytest.raises(RequestError, match=r"what its image side computes \(\w+, \w+\) is not"):
            form.check(model, ExportRequest(model.name, name))


@pytest.mark.parametrize("kind", ["prompt_padding", "prompt_tokens"])
def test_visual_prompts_have_a_place_in_a_graph_alone(source, kind):
    model = load(source(quick_gelu=True))
    options = {"width": 4} if kind == "prompt_padding" else {}
    model.encoder = model.adapted_encoder(Adapter(kind, **options).made, seed=0)
    for name, form in FORMATS.items():
        if name == "onnx":
            pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
            form.check(model, ExportRequest(model.name, name))
            continue
        with pytest.raises(RequestError, match=f"to {name}: its visual prompt .*--to onnx takes"):
            form.check(model, ExportRequest(model.name, name))


def test_a_defence_cannot_be_taken_along(source):
    with pytest.raises(RequestError, match="defence"):
        require_known(load(f"ttc({source()})"))


def theirs_of(model, images=0.0, texts=0.0):
    """The same model, moved away by so much."""

    def embed(shown):
        return model.encoder(model.preprocessing(to_pixels(shown))) + images

    def encode(prompts):
        return torch.cat([model.text.encode([p], ["{}"]) for p in prompts]) + texts

    return Loaded(embed, encode, 32)


def test_agreement_is_measured_on_both_sides(source):
    model = load(source())
    assert largest_difference(model, theirs_of(model)) == 0
    assert 0 < largest_difference(model, theirs_of(model, texts=1e-6)) < 1e-5
    for moved in ({"images": 0.01}, {"texts": 0.01}, {"images": float("nan")}):
        with pytest.raises(RunError, match=f"discarded: its {next(iter(moved))[:-1]} embeddings"):
            largest_difference(model, theirs_of(model, **moved))


def test_pictures_are_as_they_are_read(source):
    """The agreement would say nothing of pictures that are all alike, or grey."""
    shown = random_images(32)
    pixels = to_pixels(shown)
    assert pixels.shape == (4, 3, 32, 32)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    red, green, blue = shown[1].getpixel((5, 9))
    assert (pixels[1, :, 9, 5] * 255).round().tolist() == [red, green, blue]
    embeddings = load(source()).encoder(pixels)
    assert torch.pdist(embeddings).min() > 1e-3


def test_what_disagrees_is_not_left_behind(source, tuned, tmp_path, monkeypatch):
    honest = FORMATS["tecoa"].write
    run = tuned(source(quick_gelu=True))

    def wrong(model, folder, request):
        for parameter in model.encoder.parameters():
            parameter.data.mul_(1.001)
        notes = honest(model, folder, request)
        for parameter in model.encoder.parameters():
            parameter.data.div_(1.01)
        return notes

    monkeypatch.setattr(FORMATS["tecoa"], "write", wrong)
    with pytest.raises(RunError, match="the written model was discarded"):
        export(ExportRequest(run, "tecoa", out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
