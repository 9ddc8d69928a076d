"""The adapter ``prompt_tokens``: trained tokens beside the patches of a ViT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from zsrobust.checks import require
from zsrobust.errors import RequestError
from zsrobust.models.adapters.base import AdapterKind, device_of, generator, train_only
from zsrobust.models.adapters.prompt_padding import framed
from zsrobust.models.adapters.visual_prompt import VisualPrompt

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


@dataclass(frozen=True)
class PromptTokens(AdapterKind):
    """Tokens that every image is seen with; the tower itself stays as it is.

    Visual prompt tuning in its shallow form (Jia et al., ECCV 2022, arXiv 2203.12119): the tokens
    enter before the first block, after the class token, without a position. TeCoA
    (arXiv 2212.07016) trains them together with a frame: ``tokens`` 100 and ``width`` 30 is what
    its code is run with. They start from normal noise of deviation 1, as there, so training does
    not start from the original's accuracy. Only ViTs of open_clip have a place for them.

    Attributes:
        tokens: how many, 1 or more.
        width: of a frame as in ``prompt_padding``, in pixels; 0 for none.
    """

    tokens: int = 10
    width: int = 0

    keeps_prompt: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.tokens >= 1, "adapter.tokens", self.tokens, "1 or more")
        require(self.width >= 0, "adapter.width", self.width, "0 or more")

    @property
    def label(self) -> str:
        """``prompt_tokens(10)``, or ``prompt_tokens(10, width=30)``."""
        return f"prompt_tokens({self.tokens}{f', width={self.width}' if self.width else ''})"

    def apply(self, model: CLIPModel, seed: int) -> nn.Module:
        """The encoder, fixed, with the tokens, and behind a frame where one is asked for.

        Raises:
            RequestError: if it is no ViT of open_clip, or a frame leaves no middle of its input.
        """
        from open_clip.transformer import VisionTransformer

        if not isinstance(model.encoder, VisionTransformer):
            raise RequestError(
                f"model {model.name} has no place for prompt tokens "
                f"({type(model.encoder).__name__}): choose a ViT of open_clip, such as "
                "ViT-B-32/openai, or adapter.kind prompt_padding"
            )
        train_only(model.encoder, ())
        with_tokens = WithTokens(model.encoder, self.tokens, generator(seed))
        return framed(model, with_tokens, self.width) if self.width else with_tokens


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
