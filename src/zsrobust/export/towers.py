"""Which models can leave: what each format may ask of a model, refused in one sentence."""

from __future__ import annotations

from typing import Any

from torch import nn

from zsrobust.models.adapters.visual_prompt import VisualPrompt, tower_of
from zsrobust.models.clip import CLIPModel
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.photo_lite import CentredTower
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.utils.errors import RequestError


def require_known(model: CLIPModel) -> None:
    """Refuse an image side that is none of this package's, or has a defence around it.

    Raises:
        RequestError: naming what the image side is.
    """
    model.require_undefended("an export")
    tower = tower_of(model.encoder)
    if type(tower) in (*_open_clip_towers(), CentredTower) and _is_plain(model):
        return
    raise RequestError(
        f"{model.name} cannot be exported: what its image side computes ({type(tower).__name__}, "
        f"{type(model.preprocessing).__name__}) is not known here, so that nothing can be checked"
    )


def require_open_clip(model: CLIPModel, wanted: str) -> Any:
    """The text side's open_clip model, of a model that is open_clip's on both sides.

    Raises:
        RequestError: if it is not; ``wanted`` names the format.
    """
    require_known(model)
    if isinstance(model.encoder, VisualPrompt):
        raise RequestError(
            f"{model.name} cannot be exported to {wanted}: its visual prompt "
            f"({type(model.encoder).__name__}) has no place there; --to onnx takes its image side"
        )
    if type(model.encoder) not in _open_clip_towers() or type(model.text) is not OpenCLIPText:
        raise RequestError(
            f"{model.name} cannot be exported to {wanted}: it is not a model of open_clip "
            f"({type(model.encoder).__name__} with {type(model.text).__name__}); --to onnx takes "
            "its image side"
        )
    return model.text.model


def _open_clip_towers() -> tuple[type[nn.Module], ...]:
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    return VisionTransformer, ModifiedResNet, TimmModel


def _is_plain(model: CLIPModel) -> bool:
    """Whether pixels are only resized and normalised, and no weight is computed from others."""
    parametrized = any(hasattr(part, "parametrizations") for part in model.encoder.modules())
    return type(model.preprocessing) is Preprocessing and not parametrized
