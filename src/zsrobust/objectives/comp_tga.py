"""Comp-TGA: TGA-ZSR with attention to what is not the class taken off (arXiv 2603.18598)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zsrobust.objectives.base import StepContext, register_objective
from zsrobust.objectives.tga_zsr import TGAZSR
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import require_template


@register_objective("comp_tga", "Comp-TGA", arxiv="2603.18598")
@dataclass(frozen=True)
class CompTGA(TGAZSR):
    """TGA-ZSR's loss with ``A = A_fg (1 - A_not)``, pixel by pixel of the up-sampled maps.

    ``A_fg`` is TGA-ZSR's map for the prompt of the true class, ``A_not`` that for its negation.
    Everything else is as in ``tga_zsr``, with other weights.

    Attributes:
        preset: ``paper`` takes the cosine similarity of patch tokens and text; ``authors_code``
            first normalises each channel over the tokens, as the released code does.
        alpha: weight of the attention loss on adversarial images, 0 or more.
        beta: weight of the attention loss on clean images, 0 or more.
        logit_scale: logit scale in the cross-entropy and the attack; ``model`` for the model's own.
        map_side: side of the attention maps in pixels; the distances grow in proportion to it.
        negation: negated prompt, with {} for the class name.

    Raises:
        RequestError: if a weight is negative, the scale not above 0, the preset unknown, or the
            negation leaves no place for the class name.
    """

    alpha: float = 0.10
    beta: float = 0.07
    negation: str = "This is not a photo of a {}"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_template("objective.negation", self.negation)

    def prompts(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The negated prompts."""
        return (tuple(self.negation.replace("{}", name) for name in class_names),)

    def maps(self, embeddings: Tensor, tokens: Tensor, step: StepContext) -> list[Tensor]:
        """One map (N, side, side): attention to the class, without attention to its negation."""
        (foreground,) = super().maps(embeddings, tokens, step)
        negated = self.attention(embeddings, tokens, step.texts[0][step.labels])
        return [foreground * (1 - negated)]
