"""Visual prompts around an image tower, and the patch tokens of a tower with or without one.

A visual prompt is a fixed tower that sees something learned in addition to the image: a frame of
pixels (Bahng et al., arXiv 2203.17274) or tokens (Jia et al., ECCV 2022, arXiv 2203.12119).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zsrobust.utils.errors import RequestError


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
        """As the function :func:`embed_with_tokens`, of the image's own patches alone."""
        raise NotImplementedError


def tower_of(encoder: nn.Module) -> nn.Module:
    """The image tower within any visual prompts; the encoder itself where there are none."""
    while isinstance(encoder, VisualPrompt):
        encoder = encoder.tower
    return encoder


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
        where = next(tower.parameters()).device
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


class WithTokens(VisualPrompt):
    """A ViT whose blocks see learned tokens among those of the image.

    Args:
        tower: a ``VisionTransformer`` of open_clip.
        tokens: how many.
        random: draws their first values.
    """

    def __init__(self, tower: nn.Module, tokens: int, random: torch.Generator) -> None:
        super().__init__(tower)
        drawn = torch.randn(tokens, len(self.tower.class_embedding), generator=random)
        self.prompt = nn.Parameter(drawn.to(next(tower.parameters()).device))

    def forward(self, pixels: Tensor) -> Tensor:
        """Raw embeddings (N, dim) of preprocessed images (N, 3, S, S)."""
        return self._embed(self._last_state(pixels))

    def embed_with_tokens(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (N, dim) and the image's own patch tokens (N, patches, dim)."""
        state = self._last_state(pixels)
        tokens = self.tower.ln_post(state[:, 1:])
        if self.tower.proj is not None:
            tokens = tokens @ self.tower.proj
        return self._embed(state), tokens

    def _last_state(self, pixels: Tensor) -> Tensor:
        """What the last block gives for class token and patches, (N, 1 + patches, width)."""
        state = self.tower._embeds(pixels)
        # The norm before the blocks is of each token alone: it may come before they are joined.
        prompt = self.tower.ln_pre(self.prompt).to(state.dtype).expand(len(state), -1, -1)
        seen = torch.cat([state[:, :1], prompt, state[:, 1:]], dim=1)
        with without_attention_fast_path():
            after: Tensor = self.tower.transformer(seen)
        return torch.cat([after[:, :1], after[:, 1 + len(self.prompt) :]], dim=1)

    def _embed(self, state: Tensor) -> Tensor:
        pooled: Tensor = self.tower._pool(state)[0]
        return pooled if self.tower.proj is None else pooled @ self.tower.proj


def check_has_tokens(encoder: nn.Module, name: str) -> None:
    """Refuse a tower without patch tokens that can be compared with class vectors.

    Only open_clip's own ViTs have them: a ResNet has none, timm's towers keep theirs to
    themselves, attention pooling (CoCa) mixes them, and patch dropout leaves some out.

    Raises:
        RequestError: saying which model and what would do.
    """
    from open_clip.transformer import VisionTransformer

    usable = (
        isinstance(encoder, VisionTransformer)
        and encoder.attn_pool is None
        and isinstance(encoder.patch_dropout, nn.Identity)
    )
    if not usable:
        raise RequestError(
            f"model {name} has no patch tokens in the space of its text "
            f"({type(encoder).__name__}), which this method compares with class names: choose a "
            "ViT of open_clip, such as ViT-B-32/openai, or another method"
        )


def embed_with_tokens(encoder: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Raw embeddings (N, dim) and patch tokens (N, patches, dim), from one forward pass.

    A token takes the class token's way to the text's space: the last layer norm, then the
    projection. Tokens come row by row from the top left.

    Args:
        encoder: a tower that ``check_has_tokens`` accepts, or a visual prompt around one.
        pixels: preprocessed images (N, 3, S, S).
    """
    if isinstance(encoder, VisualPrompt):
        return encoder.embed_with_tokens(pixels)
    with without_attention_fast_path():
        found = encoder.forward_intermediates(
            pixels, indices=1, normalize_intermediates=True, output_fmt="NLC"
        )
    (tokens,) = found["image_intermediates"]
    if encoder.proj is not None:
        tokens = tokens @ encoder.proj
    return found["image_features"], tokens


@contextmanager
def without_attention_fast_path() -> Iterator[None]:
    """No fast path of PyTorch for attention where no gradient is needed: it rounds otherwise.

    Two equal encoders, one of them frozen, then give the same embeddings and tokens bit for bit.
    """
    if torch.is_grad_enabled():
        # Not taken there; and a switch would make compiled towers compile anew.
        yield
        return
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
