"""The image side as ONNX graphs: pixels in [0, 1] to embeddings, and to logits where asked for.

Resizing and normalisation are inside, and so is a visual prompt where there is one. The side of the
images is fixed (``resolution``, else the tower's own), for a graph holds one resize; the number of
images is free.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.export.checks import TOLERANCE, random_images, require_known, to_pixels
from zsrobust.export.format import Format, Loaded, export_format
from zsrobust.export.request import ExportRequest
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.extras import require_installed
from zsrobust.utils.lazy import Tensor, nn, torch

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel
    from zsrobust.models.zero_shot import ZeroShotClassifier


ENCODER, CLASSIFIER, NAMES = "image.onnx", "classifier.onnx", "class_names.json"
# What one ONNX file can hold, less room for the graph itself.
MOST_BYTES = 2_000_000_000


@export_format("onnx")
class OnnxGraph(Format):
    """``image.onnx``, and ``classifier.onnx`` where class names are given."""

    what = "the image side as a graph, preprocessing inside; with --class_names a classifier"
    pixels = (
        "Normalisation, and the resize from the graph's input to the tower's, are in the graph."
    )
    how = """\
```python
import numpy as np, onnxruntime

session = onnxruntime.InferenceSession("FOLDER/image.onnx")
pixels = np.zeros((2, 3, SIDE, SIDE), np.float32)  # RGB in [0, 1], any number of images
(embeddings,) = session.run(None, {"pixels": pixels})
```

SIDE is in the file: `session.get_inputs()[0].shape`. `classifier.onnx`, where there is one, gives
`logits` over the names in `class_names.json`, in this order.
"""

    def check(self, model: CLIPModel, request: ExportRequest) -> None:
        """Refuse what is not known here, or does not fit one file.

        Raises:
            RequestError: saying which, or that a library is missing.
        """
        require_known(model)
        require_installed("onnx", "onnx", "onnxscript", "onnxruntime")
        size = sum(t.numel() * t.element_size() for t in model.encoder.state_dict().values())
        if size > MOST_BYTES:
            raise RequestError(
                f"{model.name} cannot be exported to onnx: its image side has {size / 1e9:.1f} GB, "
                "and one ONNX file holds 2 GB"
            )
        if request.class_names:
            model.check_classes(request.class_names, _templates(request), "the classifier")

    def write(self, model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
        """Write the encoder, and a classifier where class names are given."""
        side = request.resolution or model.preprocessing.image_size
        _export(_embedding(model), folder / ENCODER, side, "embeddings")
        notes = [f"It takes images of {side} by {side} pixels; scale and crop yours to that first."]
        if request.class_names:
            templates = _templates(request)
            classifier = model.classifier(request.class_names, templates, notes.append).eval()
            _export(classifier, folder / CLASSIFIER, side, "logits")
            _compare_logits(classifier, folder / CLASSIFIER, side)
            names = {"class_names": classifier.class_names, "templates": classifier.templates}
            text = json.dumps(names, ensure_ascii=False, indent=1)
            (folder / NAMES).write_text(text + "\n", encoding="utf-8")
        return notes

    def load(self, folder: Path, model: CLIPModel) -> Loaded:
        """The encoder as onnxruntime runs it."""
        run, side = _session(folder / ENCODER)
        return Loaded(lambda shown: run(to_pixels(shown)), None, side)


def _templates(request: ExportRequest) -> tuple[str, ...] | None:
    # It reads data, which --help can do without.
    from zsrobust.data.published.prompts import expand_templates

    return expand_templates(request.templates) if request.templates else None


def _embedding(model: CLIPModel) -> nn.Module:
    """Images in [0, 1] to raw embeddings."""
    parts = {"preprocessing": model.preprocessing, "encoder": model.encoder}
    return nn.Sequential(OrderedDict(parts))


def _export(module: nn.Module, path: Path, side: int, output: str) -> None:
    # Two images: a batch of one would be taken for the only size there is.
    example = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(),
                (example,),
                str(path),
                input_names=["pixels"],
                output_names=[output],
                dynamic_shapes=({0: torch.export.Dim("images")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    # The exporter wraps whatever goes wrong in classes of its own.
    except Exception as reason:
        details = " ".join(str(reason).split())[:200]
        raise RunError(
            f"torch {torch.version.__version__} cannot write this tower as ONNX: {details}"
        ) from reason
    finally:
        logging.disable(before)


def _session(path: Path) -> tuple[Any, int]:
    """A function from images to the file's output, and the side of its images."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        (output,) = session.run(None, {"pixels": images.float().numpy()})
        return torch.from_numpy(output)

    return run, int(session.get_inputs()[0].shape[-1])


def _compare_logits(classifier: ZeroShotClassifier, path: Path, side: int) -> None:
    images = to_pixels(random_images(side))
    run, _ = _session(path)
    with torch.no_grad():
        gap = float((classifier(images) - run(images)).abs().max())
    if not gap <= TOLERANCE * classifier.logit_scale:
        raise RunError(
            f"the written model was discarded: the logits of {path.name} differ by {gap:.2g} from "
            "the classifier's, more than rounding"
        )
