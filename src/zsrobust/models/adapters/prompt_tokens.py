"""The adapter ``prompt_tokens``: trained tokens in addition to the patches of a ViT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zsrobust.models.adapters.base import AdapterKind, generator, register_adapter, train_only
from zsrobust.models.adapters.prompt_padding import framed
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import nn
from zsrobust.utils.validation import require


@register_adapter("prompt_tokens")
@dataclass(frozen=True)
class PromptTokens(AdapterKind):
    """A visual prompt: tokens added to those of every image; the encoder is frozen.

    Visual prompt tuning in its shallow form (Jia et al., ECCV 2022, arXiv 2203.12119): the tokens
    enter before the first block, after the class token, without a position. TeCoA
    (arXiv 2212.07016) trains them together with a frame: ``tokens`` 100 and ``width`` 30 is what
    its code is run with. They start from normal noise of deviation 1, as there, so training does
    not start from the original's accuracy. Only ViTs of open_clip have a place for them.

    Attributes:
        tokens: number of tokens, 1 or more.
        width: width of an added frame in pixels of the model's input; 0 for none.
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

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder, fixed, with the tokens, and behind a frame where one is asked for.

        Raises:
            RequestError: if it is no ViT of open_clip, or a frame leaves no middle of its input.
        """
        from open_clip.transformer import VisionTransformer

        from zsrobust.models.visual_prompts import WithTokens

        if not isinstance(encoder, VisionTransformer):
            raise RequestError(
                f"model {name} has no place for prompt tokens "
                f"({type(encoder).__name__}): choose a ViT of open_clip, such as "
                "ViT-B-32/openai, or adapter.kind prompt_padding"
            )
        train_only(encoder, ())
        with_tokens = WithTokens(encoder, self.tokens, generator(seed))
        if self.width == 0:
            return with_tokens
        return framed(with_tokens, name, image_size, self.width)
