"""The adapter ``full``: the whole image encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zsrobust.models.adapters.base import AdapterKind
from zsrobust.utils.lazy import nn

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


@dataclass(frozen=True)
class Full(AdapterKind):
    """Every parameter that the architecture does not fix (as it does sine-cosine positions)."""

    @property
    def label(self) -> str:
        """Its name in results."""
        return "full"

    def apply(self, model: CLIPModel, seed: int) -> nn.Module:
        """The encoder as it is."""
        return model.encoder
