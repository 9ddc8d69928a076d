from dataclasses import replace

import open_clip
import pytest
import torch

from zsrobust.export.checks import random_images, to_pixels
from zsrobust.export.command import export
from zsrobust.export.request import ExportRequest
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint, save_model
from zsrobust.utils.errors import RequestError

RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}


def exported(run, tmp_path):
    return export(ExportRequest(run, "tecoa", out=str(tmp_path / "out"))).folder / "model.pth.tar"


@pytest.mark.parametrize("tower", [{"quick_gelu": True}, {"vision_cfg": RESNET}], ids=str)
@torch.no_grad()
def test_it_loads_as_their_code_loads_it(source, tuned, tmp_path, tower):
    name = source(**tower)
    run = tuned(name)
    file = torch.load(exported(run, tmp_path), map_location="cpu", weights_only=True)
    # What --resume reads before the weights; on a GPU best_acc1 must be a tensor.
    assert file["epoch"] == 0
    assert file["best_acc1"].to("cpu") == 0
    ours, theirs = load(run), open_clip.create_model(name).eval()
    theirs.visual.load_state_dict(file["vision_encoder_state_dict"], strict=True)
    pixels = ours.preprocessing(to_pixels(random_images(ours.preprocessing.image_size)))
    assert torch.equal(theirs.visual(pixels), ours.encoder(pixels))


def test_reading_is_the_reverse_of_writing(source, tuned, tmp_path):
    name = source(quick_gelu=True)
    run = tuned(name, preprocessing="authors_code")
    again = load(f"{name}@{exported(run, tmp_path)}")
    assert fingerprint(again.encoder) == fingerprint(load(run).encoder)
    assert again.preprocessing.describe() == load(run).preprocessing.describe()


def test_a_tower_that_their_code_would_misread_is_refused(source, tuned, tmp_path):
    run = tuned(source())
    with pytest.raises(RequestError, match=r"OpenAI's ViTs .with QuickGELU.*a tower with GELU"):
        exported(run, tmp_path)


def test_a_fine_tuned_text_tower_is_not_left_behind(source, tmp_path):
    model = load(source(quick_gelu=True))
    text = model.text.with_weights(model.text.model.state_dict(), tuned=True)
    save_model(tmp_path / "model", replace(model, text=text), "mmcoa")
    with pytest.raises(RequestError, match="its text tower was fine-tuned with it"):
        exported(str(tmp_path), tmp_path)


def test_different_preprocessing_is_warned_of(source, tuned, tmp_path):
    name = source(quick_gelu=True)
    clip = export(ExportRequest(tuned(name), "tecoa", out=str(tmp_path / "clip")))
    assert len(clip.notes) == 1
    assert "CLIP's statistics" in clip.notes[0]
    assert "ImageNet's (authors_code)" in clip.notes[0]
    theirs = tuned(name, preprocessing="tecoa_code", run="second")
    assert export(ExportRequest(theirs, "tecoa", out=str(tmp_path / "theirs"))).notes == []
