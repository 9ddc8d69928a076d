"""Which models can be exported, and whether the other library computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zsrobust.export.format import Loaded
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.lazy import F, Tensor, nn, torch

if TYPE_CHECKING:
    from PIL import Image

    from zsrobust.models.clip import CLIPModel

TOLERANCE = 1e-5
"""Largest difference of any component of a unit embedding."""

IMAGES = 4
PROMPTS = ("a photo of a cat", "This is a picture of 12 red houses.", "X")


def require_known(model: CLIPModel) -> None:
    """Refuse an image side that is none of this package's, or has a defence around it.

    Raises:
        RequestError: naming what the image side is.
    """
    from zsrobust.models.photo_lite import CentredTower
    from zsrobust.models.visual_prompts import tower_of

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
    from zsrobust.models.open_clip_text import OpenCLIPText
    from zsrobust.models.visual_prompts import VisualPrompt

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
    from zsrobust.models.preprocessing import Preprocessing

    parametrized = any(hasattr(part, "parametrizations") for part in model.encoder.modules())
    return type(model.preprocessing) is Preprocessing and not parametrized


def random_images(side: int, seed: int = 0) -> list[Image.Image]:
    """``IMAGES`` random images, from blocks of colour to noise, always the same."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    found = []
    for index in range(IMAGES):
        cells = min(side, 2 ** (index + 1))
        small = random.integers(0, 256, (cells, cells, 3), np.uint8)
        found.append(Image.fromarray(small).resize((side, side), Image.Resampling.NEAREST))
    return found


def to_pixels(found: list[Image.Image]) -> Tensor:
    """8-bit images as pixels in [0, 1], (N, 3, S, S)."""
    import numpy as np

    arrays = np.stack([np.asarray(picture) for picture in found])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


def largest_difference(model: CLIPModel, loaded: Loaded) -> float:
    """The largest difference of a component of any unit embedding, image or text.

    Raises:
        RunError: if it is above ``TOLERANCE``.
    """
    shown = random_images(loaded.side)
    with torch.no_grad():
        ours = model.encoder(model.preprocessing(to_pixels(shown)))
        pairs = {"image": (ours, loaded.images(shown))}
        if loaded.texts is not None:
            vectors = [model.text.encode([prompt], ["{}"]) for prompt in PROMPTS]
            pairs["text"] = (torch.cat(vectors), loaded.texts(list(PROMPTS)))
    largest = 0.0
    for side, (here, there) in pairs.items():
        gap = (F.normalize(here.float(), dim=-1) - F.normalize(there.float(), dim=-1)).abs().max()
        if not gap <= TOLERANCE:
            raise RunError(
                f"the written model was discarded: its {side} embeddings differ by {gap:.2g} from "
                f"those of {model.name}, more than rounding ({TOLERANCE:g})"
            )
        largest = max(largest, float(gap))
    return largest
