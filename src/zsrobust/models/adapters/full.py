"""The adapter ``full``: the whole image encoder."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.models.adapters.base import AdapterKind, register_adapter
from zsrobust.utils.lazy import nn


@register_adapter("full")
@dataclass(frozen=True)
class Full(AdapterKind):
    """Every parameter that the architecture does not fix (as it does sine-cosine positions)."""

    @property
    def label(self) -> str:
        """Its name in results."""
        return "full"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder as it is."""
        return encoder
