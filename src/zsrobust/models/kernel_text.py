"""Class vectors for an image tower without text: regression from a sentence encoder.

In the spirit of LiT (Zhai et al., CVPR 2022), a text side is fitted to a frozen image tower; here
in closed form and from class names alone, without any image. Kernel ridge regression (Saunders
et al., ICML 1998) carries a prompt's sentence embedding to where the image classifier would have
its weight vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

UNKNOWN = "[UNK]"
"""WordPiece's token for what has none."""


def kernel_ridge(
    inputs: Tensor, targets: Tensor, queries: Tensor, gamma: float, ridge: float
) -> Tensor:
    """Kernel ridge regression with the kernel ``exp(-gamma |a - b|^2)``, at ``queries``.

    Args:
        inputs: (N, d).
        targets: (N, dim).
        queries: (Q, d).
        gamma: kernel width, above 0.
        ridge: added to the kernel matrix's diagonal, above 0.

    Returns:
        Predictions (Q, dim), in the type of ``targets``; computed in float64.
    """
    inputs, queries = inputs.double(), queries.double()
    kernel = _kernel(inputs, inputs, gamma)
    kernel.diagonal().add_(ridge)
    weights = torch.linalg.solve(kernel, targets.double())
    predictions: Tensor = _kernel(queries, inputs, gamma) @ weights
    return predictions.to(targets.dtype)


def _kernel(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    distances: Tensor = torch.cdist(a, b)
    return (-gamma * distances.square()).exp()


class KernelText:
    """Class names to class vectors by regression on known classes; a ``TextSide``.

    The regression is fitted at each call, on the known names under the templates of the call:
    known and new classes are compared under the same words.

    Args:
        embed: sentences to embeddings (N, d).
        names: K known class names.
        vectors: their class vectors (K, dim); centred here.
        gamma, ridge: of ``kernel_ridge``.
        embed_identity: hash of everything that decides ``embed``.
        tokenize: a sentence to all its tokens, start and end included.
        context: how many of them ``embed`` reads; None for any number.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], Tensor],
        names: Sequence[str],
        vectors: Tensor,
        *,
        gamma: float,
        ridge: float,
        embed_identity: str,
        tokenize: Callable[[str], Sequence[str]] = str.split,
        context: int | None = None,
    ) -> None:
        self.embed = embed
        self.tokenize, self.context = tokenize, context
        self.names = tuple(names)
        self.vectors = vectors - vectors.mean(0)
        self.gamma, self.ridge = gamma, ridge
        digest = hashlib.sha256(json.dumps([embed_identity, self.names, gamma, ridge]).encode())
        # As given: the centred ones differ in their last bits between processors, and weights
        # made with one would be refused with another.
        digest.update(vectors.numpy().tobytes())
        self.fingerprint = digest.hexdigest()[:16]

    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32 on the CPU; ``templates`` hold ``{}``."""
        known = self._embed_names(self.names, templates)
        new = self._embed_names(class_names, templates)
        return F.normalize(
            kernel_ridge(known, self.vectors, new, self.gamma, self.ridge).float(), dim=-1
        )

    def is_cut(self, prompt: str) -> bool:
        """Whether the prompt has more tokens than the sentence encoder reads."""
        # No token is less than a byte, but for start and end.
        if self.context is None or len(prompt.encode()) + 2 <= self.context:
            return False
        return len(self.tokenize(prompt)) > self.context

    def is_known(self, text: str) -> bool:
        """Whether no part of the text is the sentence encoder's unknown token."""
        return UNKNOWN not in self.tokenize(text)

    def _embed_names(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        prompts = [template.replace("{}", name) for name in names for template in templates]
        vectors = F.normalize(self.embed(prompts), dim=-1)
        return F.normalize(vectors.view(len(names), len(templates), -1).mean(1), dim=-1)
