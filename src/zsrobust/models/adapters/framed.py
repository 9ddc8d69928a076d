"""The trained part of ``prompt_padding``: a frame on preprocessed images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zsrobust.models.adapters.base import device_of
from zsrobust.models.adapters.visual_prompt import VisualPrompt
from zsrobust.models.patch_tokens import embed_with_tokens
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


def framed(model: CLIPModel, tower: nn.Module, width: int) -> Framed:
    """``tower`` behind a frame of the size of ``model``'s input.

    Raises:
        RequestError: if the frame leaves no middle.
    """
    side = model.preprocessing.image_size
    require(
        2 * width < side,
        "adapter.width",
        width,
        f"below half of {side}, the side in pixels of what model {model.name} sees",
    )
    return Framed(tower, side, width)


class Framed(VisualPrompt):
    """A tower that sees each image plus a learned frame.

    Args:
        tower: preprocessed images (N, 3, side, side) to raw embeddings (N, dim).
        side: of the images, in pixels.
        width: of the frame, in pixels.
    """

    def __init__(self, tower: nn.Module, side: int, width: int) -> None:
        super().__init__(tower)
        self.middle = side - 2 * width
        where = device_of(tower)
        self.top, self.bottom = (
            nn.Parameter(torch.zeros(3, width, side, device=where)) for _ in range(2)
        )
        self.left, self.right = (
            nn.Parameter(torch.zeros(3, self.middle, width, device=where)) for _ in range(2)
        )

    def frame(self) -> Tensor:
        """The frame with zeros in its middle, (3, side, side)."""
        empty = self.left.new_zeros(3, self.middle, self.middle)
        rows = torch.cat([self.left, empty, self.right], dim=2)
        return torch.cat([self.top, rows, self.bottom], dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Raw embeddings (N, dim) of preprocessed images (N, 3, side, side)."""
        embeddings: Tensor = self.tower(pixels + self.frame())
        return embeddings

    def embed_with_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (N, dim) and patch tokens (N, patches, dim), frame and all."""
        return embed_with_tokens(self.tower, pixels + self.frame())
