"""The adapter ``prompt_padding``: a trained frame on the images that the tower sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zsrobust.models.adapters.base import AdapterKind, register_adapter, train_only
from zsrobust.utils.lazy import nn
from zsrobust.utils.validation import require


@register_adapter("prompt_padding")
@dataclass(frozen=True)
class PromptPadding(AdapterKind):
    """A visual prompt: a frame added to every preprocessed image; the encoder is frozen.

    The visual prompt of TeCoA (Mao et al., "Understanding Zero-Shot Adversarial Robustness for
    Large-Scale Models", ICLR 2023, arXiv 2212.07016), after Bahng et al., arXiv 2203.17274. It is
    added after resize and normalisation, in their units, so attacks, which act on the image before
    these, reach all of the image and never the frame. It starts at zero, so that training starts
    from the original; TeCoA's code starts from normal noise.

    Attributes:
        width: width of the frame in pixels of the model's input, 1 or more.
    """

    width: int = 30

    keeps_prompt: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.width >= 1, "adapter.width", self.width, "1 or more")

    @property
    def label(self) -> str:
        """``prompt_padding(width=30)``."""
        return f"prompt_padding(width={self.width})"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder, fixed, behind a frame.

        Raises:
            RequestError: if the frame leaves no middle of the model's input.
        """
        train_only(encoder, ())
        return framed(encoder, name, image_size, self.width)


def framed(tower: nn.Module, name: str, image_size: int, width: int) -> nn.Module:
    """``tower`` of model ``name`` behind a frame of ``width`` pixels.

    Raises:
        RequestError: if the frame leaves no middle.
    """
    from zsrobust.models.visual_prompts import Framed

    require(
        2 * width < image_size,
        "adapter.width",
        width,
        f"below half of {image_size}, the side in pixels of what model {name} sees",
    )
    return Framed(tower, image_size, width)
