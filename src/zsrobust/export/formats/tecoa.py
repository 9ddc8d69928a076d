"""TeCoA's checkpoint: a ``.pth.tar`` dictionary with the image tower of an OpenAI CLIP.

Their scripts and those built on them (``clip.load`` of OpenAI's package, then
``model.visual.load_state_dict``) read ``vision_encoder_state_dict``; TeCoA's own ``--resume`` also
reads ``epoch`` and ``best_acc1``. It loads with ``strict=False``, so a tower of another kind would
pass unnoticed there: it is refused here.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.export.checks import require_open_clip, to_pixels
from zsrobust.export.format import Format, Loaded, export_format
from zsrobust.export.request import ExportRequest
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import Tensor, nn, torch

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


CHECKPOINT = "model.pth.tar"


@export_format("tecoa")
class TeCoACheckpoint(Format):
    """``model.pth.tar``, as TeCoA's scripts write it."""

    what = "TeCoA's .pth.tar with vision_encoder_state_dict"
    pixels = "The scripts that read this file prepare images in their own way: compare it."
    how = """\
With OpenAI's package, as TeCoA's, PMG-AFT's and TTC's scripts do, for the architecture that the
source names (`ViT-B/32`, `RN50`):

```python
import clip, torch

model, _ = clip.load("ViT-B/32", device="cpu")
file = torch.load("FOLDER/model.pth.tar", map_location="cpu", weights_only=True)
model.visual.load_state_dict(file["vision_encoder_state_dict"])
```

The text side is that of the model it is loaded into, which must be the source's. In ZSRobust it is
`--model SOURCE@FOLDER/model.pth.tar`.
"""

    def check(self, model: CLIPModel, request: ExportRequest) -> None:
        """Refuse an image tower that OpenAI's package does not build.

        Raises:
            RequestError: naming what is built otherwise.
        """
        from open_clip.modified_resnet import ModifiedResNet
        from open_clip.transformer import QuickGELU, VisionTransformer

        require_open_clip(model, "tecoa")
        if model.text.tuned:  # type: ignore[attr-defined]
            raise RequestError(
                f"{model.name} cannot be exported to tecoa, which holds an image side alone: its "
                "text tower was fine-tuned with it; --to open_clip takes both"
            )
        if type(model.encoder) is ModifiedResNet:
            return
        quick = any(isinstance(part, QuickGELU) for part in model.encoder.modules())
        other = any(isinstance(part, nn.GELU) for part in model.encoder.modules())
        if type(model.encoder) is not VisionTransformer or other or not quick:
            kind = "a tower with GELU" if other else f"a {type(model.encoder).__name__}"
            raise RequestError(
                f"{model.name} cannot be exported to tecoa, whose scripts build OpenAI's ViTs "
                f"(with QuickGELU) and ResNets alone: its image side is {kind}; --to open_clip "
                "takes it"
            )

    def write(self, model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
        """Write the file, tensors and numbers alone; notes for card and terminal are returned."""
        from zsrobust.models.foreign import PROTOCOL

        state = model.encoder.state_dict()
        tensors = {key: tensor.detach().cpu().clone() for key, tensor in state.items()}
        content = {
            "epoch": 0,
            "best_acc1": torch.tensor(0.0),
            "state_dict": {},
            "add_prompter": {},
            "vision_encoder_state_dict": tensors,
            "optimizer": {},
            PROTOCOL: model.preprocessing.protocol,
        }
        torch.save(content, folder / CHECKPOINT)
        if model.preprocessing.protocol == "tecoa_code":
            return []
        return [
            "The scripts of TeCoA, TGA-ZSR and TTC resize without antialias and normalise with "
            "CLIP's statistics (tecoa_code), PMG-AFT's with ImageNet's (authors_code); this model "
            f"was made for {model.preprocessing.protocol}: where a script prepares images "
            "otherwise, change it, or the numbers are another model's."
        ]

    def load(self, folder: Path, model: CLIPModel) -> Loaded:
        """The file read back into the source as any foreign checkpoint is."""
        from zsrobust.models.clip import CLIPModel
        from zsrobust.models.foreign import load_foreign

        # Without its own weights, so that all it computes with comes from the file.
        def emptied(_: str) -> CLIPModel:
            fresh = deepcopy(model.encoder)
            for tensor in fresh.state_dict().values():
                tensor.zero_()
            return CLIPModel(
                model.source, fresh, model.text, model.preprocessing, model.logit_scale
            )

        loaded = load_foreign(f"source@{folder / CHECKPOINT}", emptied)

        def images(shown: list[Any]) -> Tensor:
            embeddings: Tensor = loaded.encoder(model.preprocessing(to_pixels(shown)))
            return embeddings

        return Loaded(images, None, model.preprocessing.image_size)
