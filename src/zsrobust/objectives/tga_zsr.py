"""TGA-ZSR: text-guided attention (Yu, Zhang, Xu, "Text-guided attention is all you need for
zero-shot robustness in vision-language models", NeurIPS 2024, arXiv 2410.21802).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zsrobust.objectives.text_guided import TextGuided


@dataclass(frozen=True)
class TGAZSR(TextGuided):
    """``CE(P_S(x'), y) + alpha d(A_S(x'), A_T(x)) + beta d(A_S(x), A_T(x))``, means over samples.

    ``A`` is the similarity of an encoder's patch tokens to the text of the true class, min-max
    normalised in each image and up-sampled; ``d`` the Euclidean distance of two maps. x' comes
    from PGD on the cross-entropy alone. Results name the preset and every departure from it.

    Attributes:
        preset: ``paper`` takes the cosine of token and text; ``authors_code`` what the released
            code computes: it normalises each channel over the tokens instead of each token.
        alpha: weight of the attention under attack, 0 or more.
        beta: weight of the attention on clean images, 0 or more.
        logit_scale: what multiplies the cosines in the cross-entropy and the attack; ``model``
            for the model's own.
        map_side: side of the up-sampled maps in pixels; the distances grow in proportion to it.

    Raises:
        RequestError: if a weight is negative, the scale not above 0, or the preset unknown.
    """

    NAME: ClassVar[str] = "tga_zsr"
