"""What visual prompts share: a fixed image tower that sees something learned beside the image."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class VisualPrompt(nn.Module):
    """An image encoder around a ``tower``; subclasses add what is learned.

    Args:
        tower: preprocessed images (N, 3, S, S) to raw embeddings (N, dim); whether its parameters
            are trained is left as it is.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        # Of any class: what a subclass needs of it is checked before.
        self.tower: Any = tower

    def embed_with_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """As ``patch_tokens.embed_with_tokens``, of the image's own patches alone."""
        raise NotImplementedError


def tower_of(encoder: nn.Module) -> nn.Module:
    """The image tower within any visual prompts; the encoder itself where there are none."""
    while isinstance(encoder, VisualPrompt):
        encoder = encoder.tower
    return encoder
