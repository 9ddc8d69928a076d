"""The adapter ``full``: the whole image encoder."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.models.adapters.base import AdapterKind, register_adapter
from zsrobust.utils.lazy import nn


@register_adapter("full")
@dataclass(frozen=True)
class Full(AdapterKind):
    """All parameters, but for fixed ones such as sine-cosine position embeddings."""

    @property
    def label(self) -> str:
        """Its name in results."""
        return "full"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder as it is."""
        return encoder
