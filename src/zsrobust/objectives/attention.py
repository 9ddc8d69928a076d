"""Text-guided attention: which parts of an image a ViT finds alike to a text (TGA-ZSR).

Yu, Zhang, Xu, "Text-guided attention is all you need for zero-shot robustness in vision-language
models", NeurIPS 2024, arXiv 2410.21802.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from zsrobust.utils.lazy import F, Tensor, torch

Similarity: TypeAlias = Literal["cosine", "channels"]


def attention_map(
    embeddings: Tensor, tokens: Tensor, text: Tensor, *, similarity: Similarity, side: int
) -> Tensor:
    """Similarity of each patch to its image's text, from 0 to 1, up-sampled: (N, side, side).

    Args:
        embeddings: raw embeddings (N, dim).
        tokens: patch tokens (N, patches, dim) of a square grid, row by row.
        text: one text vector an image, (N, dim); its length does not matter.
        similarity: ``cosine`` of token and text; ``channels`` is what the released code of
            TGA-ZSR computes instead: it divides each channel by its length over the image's
            tokens, the class token among them, then takes the product with the text.
        side: of the map, in pixels.
    """
    tokens, text = tokens.float(), text.float()
    if similarity == "cosine":
        tokens = F.normalize(tokens, dim=-1)
    else:
        with_class = torch.cat([embeddings.float()[:, None], tokens], dim=1)
        tokens = tokens / torch.linalg.vector_norm(with_class, dim=1, keepdim=True)
    alike = (tokens * text[:, None]).sum(-1)
    lowest, highest = alike.amin(1, keepdim=True), alike.amax(1, keepdim=True)
    # Where all patches are alike the map is 0, not a quotient of zeros.
    spread = (highest - lowest).clamp_min(1e-12)
    patches = math.isqrt(tokens.shape[1])
    grid = ((alike - lowest) / spread).view(-1, 1, patches, patches)
    enlarged: Tensor = F.interpolate(grid, (side, side), mode="bilinear", align_corners=False)
    return enlarged.squeeze(1)


def map_distance(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean distance of attention maps (N, side, side), one value a sample (N,)."""
    distance: Tensor = torch.linalg.vector_norm((one - other).flatten(1), dim=1)
    return distance
