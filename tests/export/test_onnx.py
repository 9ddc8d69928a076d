import json
from pathlib import Path

import pytest
import torch

from zsrobust.export.command import export
from zsrobust.export.formats import onnx
from zsrobust.export.request import ExportRequest
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError, RunError

pytestmark = pytest.mark.slow

runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "head_width": 16}


def exported(run, tmp_path, **options):
    return export(ExportRequest(run, "onnx", out=str(tmp_path / "out"), **options)).folder


def run_file(path, pixels):
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"pixels": pixels.numpy()})
    return torch.from_numpy(found)


@torch.no_grad()
def test_one_layer_of_everything(source, tuned, tmp_path):
    """Any number of images, shrunk with antialias inside the graph, to embeddings and logits."""
    run = tuned(source(quick_gelu=True, vision_cfg={"layers": 1}))
    names = ("cat", "dog <b>", "ä house")
    asked = {"class_names": names, "templates": ("a {}", "the {}"), "resolution": 50}
    folder, ours = exported(run, tmp_path, **asked), load(run)
    classifier = ours.classifier(names, ["a {}", "the {}"]).eval()
    for n in (1, 2, 5):
        pixels = torch.rand(n, 3, 50, 50, generator=torch.Generator().manual_seed(n))
        want = ours.encoder(ours.preprocessing(pixels))
        got = run_file(folder / "image.onnx", pixels)
        assert (got - want).abs().max() < 1e-5 * want.abs().max()
        logits = run_file(folder / "classifier.onnx", pixels)
        assert (logits - classifier(pixels)).abs().max() < 1e-5 * classifier.logit_scale
    told = json.loads((folder / "class_names.json").read_text("utf-8"))
    assert told == {"class_names": list(names), "templates": ["a {}", "the {}"]}


@torch.no_grad()
def test_a_framed_resnet_under_the_authors_protocol(source, tuned, tmp_path):
    """Shrunk without antialias, normalised with ImageNet's statistics, and a visual prompt."""
    frame = Adapter("prompt_padding", width=5)
    run = tuned(source(vision_cfg=RESNET), preprocessing="authors_code", adapter=frame)
    folder, ours = exported(run, tmp_path, resolution=80), load(run)
    assert ours.encoder.top.abs().min() > 0
    pixels = torch.rand(3, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    want = ours.encoder(ours.preprocessing(pixels))
    got = run_file(folder / "image.onnx", pixels)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def test_what_does_not_fit_one_file_is_refused(source, tuned, tmp_path, monkeypatch):
    run = tuned(source())
    monkeypatch.setattr(onnx, "MOST_BYTES", 1000)
    with pytest.raises(RequestError, match="one ONNX file holds 2 GB"):
        exported(run, tmp_path)


def test_a_failed_conversion_is_one_sentence(source, tuned, tmp_path, monkeypatch):
    run = tuned(source())

    def fail(*_, **__):
        raise NotImplementedError("no rule\nfor aten::thing")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(RunError, match="cannot write this tower as ONNX: no rule for aten::thing"):
        exported(run, tmp_path)
    assert not (tmp_path / "out").exists()


def test_an_export_with_wrong_logits_is_deleted(source, monkeypatch):
    classifier = load(source()).classifier(("a", "b"), ["{}"]).eval()
    monkeypatch.setattr(
        onnx, "_session", lambda path: ((lambda images: classifier(images) + 0.1), 32)
    )
    with pytest.raises(RunError, match=r"logits of classifier\.onnx differ by 0\.1"):
        onnx._compare_logits(classifier, Path("classifier.onnx"), 32)
