"""Class vectors are computed once per (text side, templates, class names) and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zsrobust.utils.cache import cache_folder
from zsrobust.utils.files import atomic_file

if TYPE_CHECKING:
    from zsrobust.models.clip import TextSide


def encode(text: TextSide, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Class vectors (C, dim), from the cache where they are, else from ``text`` and then kept.

    A cache that cannot be read or written costs time, never a run.
    """
    key = json.dumps([text.fingerprint, list(templates), list(class_names)])
    path = cache_folder() / "text" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        kept = load_file(path)
        # A flipped bit would be another class vector, and pass into results.
        if torch.equal(kept["sha256"], _digest(kept["class_embeddings"])):
            return kept["class_embeddings"]
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
