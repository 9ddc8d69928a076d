"""The trained part of ``prompt_tokens``: tokens that the blocks of a ViT see among an image's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zsrobust.models.adapters.base import device_of
from zsrobust.models.adapters.visual_prompt import VisualPrompt


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
        self.prompt = nn.Parameter(drawn.to(device_of(tower)))

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
        after: Tensor = self.tower.transformer(seen)
        return torch.cat([after[:, :1], after[:, 1 + len(self.prompt) :]], dim=1)

    def _embed(self, state: Tensor) -> Tensor:
        pooled: Tensor = self.tower._pool(state)[0]
        return pooled if self.tower.proj is None else pooled @ self.tower.proj
