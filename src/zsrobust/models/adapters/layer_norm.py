"""The adapter ``layer_norm``: the scales and shifts of a tower's LayerNorms."""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.models.adapters.base import AdapterKind, register_adapter, train_only
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import nn


@register_adapter("layer_norm")
@dataclass(frozen=True)
class LayerNorm(AdapterKind):
    """Weights and biases of all LayerNorms of the image encoder.

    BatchNorms are left alone: their scales belong to statistics that fine-tuning leaves fixed.
    """

    @property
    def label(self) -> str:
        """Its name in results."""
        return "layer_norm"

    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder itself, all but its LayerNorms fixed.

        Raises:
            RequestError: if it has none.
        """
        names = {
            f"{name}.{part}"
            for name, module in encoder.named_modules()
            if isinstance(module, nn.LayerNorm)
            for part, _ in module.named_parameters()
        }
        if not names:
            from torch.nn.modules.batchnorm import _BatchNorm

            batch_norm = any(isinstance(module, _BatchNorm) for module in encoder.modules())
            instead = "its norms are BatchNorms" if batch_norm else "nor any BatchNorm"
            raise RequestError(
                f"model {name} has no LayerNorm in its image tower ({instead}), which "
                "adapter.kind layer_norm trains: choose blocks, lora or full"
            )
        train_only(encoder, names)
        return encoder
