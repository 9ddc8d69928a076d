"""The base class of adapters, and how one gets its name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from zsrobust.utils.lazy import nn, torch
from zsrobust.utils.noise import sample_key


@dataclass(frozen=True)
class AdapterKind(ABC):
    """One kind of adapter: which parameters of an image encoder are trained.

    A subclass is a frozen dataclass whose fields are its options, with their defaults; its
    docstring describes each under ``Attributes:``. With :func:`register_adapter` above it, in a
    module of this package, it can be asked for by name. Modules here do not import torch at the
    top, so a trained ``nn.Module`` lies in a module outside.

    Attributes:
        keeps_prompt: what it adds cannot be merged into the encoder's own weights, so that a saved
            model needs :meth:`apply` again before its tensors are loaded.
    """

    keeps_prompt: ClassVar[bool] = False

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name in results, with its main option and every other that is not the default."""

    @abstractmethod
    def apply(self, encoder: nn.Module, name: str, image_size: int, seed: int) -> nn.Module:
        """The encoder to train: ``encoder`` itself, changed in place, or one around it.

        ``requires_grad`` is then set on the parameters that the kind names and on no other, except
        those that the architecture itself fixes. New parameters lie on the encoder's device.

        Args:
            encoder: preprocessed images (N, 3, ``image_size``, ``image_size``) to embeddings.
            name: of the model, for messages.
            image_size: side of the encoder's input in pixels.
            seed: of new parameters.

        Raises:
            RequestError: if the encoder has no place for it.
        """


ADAPTERS: dict[str, type[AdapterKind]] = {}
"""Filled by :func:`register_adapter`; complete once ``adapters.options`` is imported."""

K = TypeVar("K", bound=type[AdapterKind])


def register_adapter(name: str) -> Callable[[K], K]:
    """Class decorator: ``adapter.kind`` called ``name`` means the class."""

    def register(kind: K) -> K:
        ADAPTERS[name] = kind
        return kind

    return register


def train_only(encoder: nn.Module, names: Collection[str]) -> None:
    """Fix every parameter but those in ``names``; one that was fixed before stays so."""
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in names)


def generator(seed: int) -> torch.Generator:
    """Random numbers for new parameters, drawn on the CPU so that every device gets the same."""
    return torch.Generator().manual_seed(sample_key(seed, "adapter", 0, "", 0))
