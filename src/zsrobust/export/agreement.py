"""Whether the other library computes the same: both sides are asked, and must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.utils.errors import RunError

TOLERANCE = 1e-5
"""Largest difference of any component of a unit embedding."""

PICTURES = 4
PROMPTS = ("a photo of a cat", "This is a picture of 12 red houses.", "X")


@dataclass(frozen=True)
class Theirs:
    """What the written model computes, as its own library loads it.

    Attributes:
        images: 8-bit RGB pictures, N of one square size, to embeddings (N, dim).
        texts: prompts to embeddings (N, dim); None where the format has no text side.
        side: of the pictures, in pixels.
    """

    images: Callable[[list[Image.Image]], Tensor]
    texts: Callable[[list[str]], Tensor] | None
    side: int


def pictures(side: int, seed: int = 0) -> list[Image.Image]:
    """``PICTURES`` random pictures, from blocks of colour to noise, always the same."""
    random = np.random.default_rng(seed)
    found = []
    for index in range(PICTURES):
        cells = min(side, 2 ** (index + 1))
        small = random.integers(0, 256, (cells, cells, 3), np.uint8)
        found.append(Image.fromarray(small).resize((side, side), Image.Resampling.NEAREST))
    return found


def as_pixels(found: list[Image.Image]) -> Tensor:
    """Pictures as images in [0, 1], (N, 3, S, S)."""
    arrays = np.stack([np.asarray(picture) for picture in found])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def largest_difference(model: CLIPModel, theirs: Theirs) -> float:
    """The largest difference of a component of any unit embedding, image or text.

    Raises:
        RunError: if it is above ``TOLERANCE``.
    """
    shown = pictures(theirs.side)
    ours = model.encoder(model.preprocessing(as_pixels(shown)))
    pairs = {"image": (ours, theirs.images(shown))}
    if theirs.texts is not None:
        vectors = [model.text.encode([prompt], ["{}"]) for prompt in PROMPTS]
        pairs["text"] = (torch.cat(vectors), theirs.texts(list(PROMPTS)))
    largest = 0.0
    for side, (here, there) in pairs.items():
        gap = (F.normalize(here.float(), dim=-1) - F.normalize(there.float(), dim=-1)).abs().max()
        if not gap <= TOLERANCE:
            raise RunError(
                f"the written model was not kept: its {side} embeddings differ by {gap:.2g} from "
                f"those of {model.name}, more than rounding ({TOLERANCE:g})"
            )
        largest = max(largest, float(gap))
    return largest
