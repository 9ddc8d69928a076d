"""Class vectors are computed once per (text side, templates, class names) and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zsrobust.cache import cache_folder
from zsrobust.files import written_whole

if TYPE_CHECKING:
    from zsrobust.models.clip import TextSide


def encode(text: TextSide, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Class vectors (C, dim), from the cache where they are, else from ``text`` and then kept.

    A cache that cannot be read or written costs time, never a run.
    """
    key = json.dumps([text.fingerprint, list(templates), list(class_names)])
    path = cache_folder() / "text" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, KeyError):
        return load_file(path)["class_embeddings"]
    vectors = text.encode(class_names, templates)
    with contextlib.suppress(OSError, SafetensorError), written_whole(path) as temporary:
        save_file({"class_embeddings": vectors.contiguous()}, temporary)
    return vectors
