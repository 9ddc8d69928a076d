"""Text sides of models, and a cache of the class vectors that they compute."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from zsrobust.utils.cache import cache_folder
from zsrobust.utils.files import atomic_file
from zsrobust.utils.validation import require


class TextSide(Protocol):
    """Class names and templates to class vectors."""

    fingerprint: str
    """Hash of everything that decides the vectors besides names and templates; empty if unknown."""

    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32 on the CPU, averaged over the templates."""
        ...


@runtime_checkable
class CheckedText(TextSide, Protocol):
    """A text side that can say what it does not read."""

    def is_cut(self, prompt: str) -> bool:
        """Whether the prompt is longer than the model's context, so that its end is left out."""
        ...

    def is_known(self, text: str) -> bool:
        """Whether there is a token for all of it; what has none is read as one unknown token."""
        ...


@runtime_checkable
class TunableText(TextSide, Protocol):
    """A text side whose token vectors may be changed, and differentiated."""

    @property
    def tokenize(self) -> Callable[..., Tensor]:
        """Prompts to token ids (P, L)."""
        ...

    @property
    def token_embedding(self) -> nn.Module | None:
        """Token ids (P, L) to vectors (P, L, width); None for a tower where it is not known."""
        ...

    def encode_vectors(self, tokens: Tensor, vectors: Tensor) -> Tensor:
        """Unit vectors (P, dim) of prompts with these token ids and vectors; differentiable."""
        ...


@runtime_checkable
class TowerText(TextSide, Protocol):
    """A text side with a tower, whose weights can be others."""

    model: nn.Module
    tuned: bool
    """Whether the weights are not those of the model that it comes from."""

    def with_weights(self, tensors: Mapping[str, Tensor], tuned: bool = False) -> TowerText:
        """The same text side with other weights, one for each tensor it has."""
        ...


class FunctionText:
    """A function from prompts to embeddings as a :class:`TextSide`.

    Args:
        embed: N prompts to embeddings (N, dim), which need not be of unit length.
    """

    fingerprint = ""

    def __init__(self, embed: Callable[[list[str]], Tensor]) -> None:
        self.embed = embed

    @torch.no_grad()
    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32 on the CPU, averaged over the templates.

        Raises:
            RequestError: if the function gives anything else than one embedding a prompt.
        """
        prompts = [t.replace("{}", name) for name in class_names for t in templates]
        found = self.embed(prompts)
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        fits = isinstance(found, Tensor) and found.ndim == 2 and len(found) == len(prompts)
        what = f"what encode_text gives for {len(prompts)} prompts"
        require(fits, what, shape, "a tensor (prompts, dim)")
        vectors = F.normalize(found.float().cpu(), dim=-1)
        return F.normalize(vectors.view(len(class_names), len(templates), -1).mean(1), dim=-1)


def class_vectors(text: TextSide, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Class vectors (C, dim), from the cache on disk, else from ``text``, then cached.

    A cache that cannot be read or written costs time, never a run. Vectors of a text side without a
    fingerprint are not cached.
    """
    if not text.fingerprint:
        return text.encode(class_names, templates)
    key = json.dumps([text.fingerprint, list(templates), list(class_names)])
    path = cache_folder() / "text" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        cached = load_file(path)
        # A flipped bit would be another class vector, and pass into results.
        if torch.equal(cached["sha256"], _digest(cached["class_embeddings"])):
            return cached["class_embeddings"]
    vectors = text.encode(class_names, templates)
    with contextlib.suppress(OSError, SafetensorError), atomic_file(path) as temporary:
        vectors = vectors.contiguous()
        save_file({"class_embeddings": vectors, "sha256": _digest(vectors)}, temporary)
    return vectors


def _digest(vectors: Tensor) -> Tensor:
    """SHA-256 of shape and values, as 32 bytes."""
    digest = hashlib.sha256(str(tuple(vectors.shape)).encode())
    digest.update(vectors.cpu().numpy().tobytes())
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def vectors_digest(vectors: Tensor) -> str:
    """The same in hex, of vectors on any device."""
    return bytes(_digest(vectors.detach().cpu().contiguous()).tolist()).hex()
