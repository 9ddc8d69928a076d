"""Patch tokens of an image tower: what it says of each part of an image, in the text's space."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zsrobust.models.adapters.visual_prompt import VisualPrompt
from zsrobust.utils.errors import RequestError


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
    found = encoder.forward_intermediates(
        pixels, indices=1, normalize_intermediates=True, output_fmt="NLC"
    )
    (tokens,) = found["image_intermediates"]
    if encoder.proj is not None:
        tokens = tokens @ encoder.proj
    return found["image_features"], tokens
