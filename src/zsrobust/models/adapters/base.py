"""What every kind of adapter is: the parameters it trains, and how they get into an encoder."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar, Protocol

from zsrobust.utils.lazy import nn, torch
from zsrobust.utils.noise import sample_key

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel


class AdapterKind(Protocol):
    """One kind of adapter. A frozen dataclass: its fields are its options, with their defaults.

    Attributes:
        keeps_prompt: what it adds cannot be merged into the encoder's own weights, so that a saved
            model needs :meth:`apply` again before it takes its tensors.
    """

    keeps_prompt: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """Its name in results, with its main option and every other that is not the default."""
        ...

    def apply(self, model: CLIPModel, seed: int) -> nn.Module:
        """The encoder to train: ``model``'s own, changed in place, or one around it.

        ``requires_grad`` is then set on the parameters that the kind names and on no other, but for
        those that the architecture itself fixes. New parameters are drawn by ``seed`` alone and lie
        on the encoder's device.

        Raises:
            RequestError: if the encoder has no place for it.
        """
        ...


def train_only(encoder: nn.Module, names: Collection[str]) -> None:
    """Fix every parameter but those in ``names``; one that was fixed before stays so."""
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in names)


def generator(seed: int) -> torch.Generator:
    """Random numbers for new parameters, drawn on the CPU so that every device gets the same."""
    return torch.Generator().manual_seed(sample_key(seed, "adapter", 0, "", 0))


def device_of(encoder: nn.Module) -> torch.device:
    """Where an encoder lies."""
    return next(encoder.parameters()).device
