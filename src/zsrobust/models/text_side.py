"""Text sides of models, and a cache of the class vectors that they compute."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zsrobust.utils.cache import cache_folder
from zsrobust.utils.files import atomic_file


class TextSide(Protocol):
    """Class names and templates to class vectors."""

    fingerprint: str
    """Hash of everything that decides the vectors besides names and templates."""

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


def class_vectors(text: TextSide, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Class vectors (C, dim), from the cache on disk, else from ``text``, then cached.

    A cache that cannot be read or written costs time, never a run.
    """
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
