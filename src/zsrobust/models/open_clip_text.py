"""The text side of an open_clip model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zsrobust.models.weights import fingerprint
from zsrobust.utils.progress import Steps

# Upper and lower case, digits, accents and punctuation: what tokenizers differ in.
PROBE = "A photo of 12 naïve CATS, a dog's toy & a semi-detached house (1990)."


class OpenCLIPText:
    """Prompts to class vectors by an open_clip text tower; a ``TextSide``.

    Args:
        model: an open_clip model, in evaluation mode; its image tower is not used.
        tokenize: prompts to token ids (N, context length), or of another ``context_length``.
        architecture: what decides the tower's output besides weights and tokenizer.
        batch_size: prompts a forward.
        tuned: its weights are not those of the model that it comes from.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenize: Callable[..., Tensor],
        architecture: str,
        batch_size: int = 256,
        tuned: bool = False,
    ) -> None:
        self.model = model
        self.tokenize = tokenize
        self.architecture = architecture
        self.batch_size = batch_size
        self.tuned = tuned
        identity = [fingerprint(model), architecture, str(tokenize([PROBE]).tolist())]
        self.fingerprint = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]

    def with_weights(self, tensors: Mapping[str, Tensor], tuned: bool = False) -> OpenCLIPText:
        """The same text side with other weights, one for each tensor it has."""
        model = deepcopy(self.model)
        model.load_state_dict(tensors)
        return OpenCLIPText(model, self.tokenize, self.architecture, self.batch_size, tuned)

    @torch.no_grad()
    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32: the mean of its prompts' unit vectors.

        ``templates`` hold ``{}`` where the class name goes.
        """
        prompts = [t.replace("{}", name) for name in class_names for t in templates]
        encoded = []
        with Steps("encoding prompts", len(prompts)) as steps:
            for batch in _batches(prompts, self.batch_size):
                found: Tensor = self.model.encode_text(self.tokenize(batch))  # type: ignore[operator]
                encoded.append(F.normalize(found.float(), dim=-1))
                steps.advance(len(batch))
        vectors = torch.cat(encoded)
        return F.normalize(vectors.view(len(class_names), len(templates), -1).mean(1), dim=-1)

    @property
    def token_embedding(self) -> nn.Module | None:
        """Token ids (P, L) to vectors (P, L, width); None for towers that open_clip borrows."""
        found: nn.Module | None = getattr(
            getattr(self.model, "text", self.model), "token_embedding", None
        )
        return found

    def encode_vectors(self, tokens: Tensor, vectors: Tensor) -> Tensor:
        """Unit vectors (P, dim), fp32, of prompts with these token ids and vectors; differentiable.

        Args:
            tokens: (P, L), which say where a prompt ends.
            vectors: (P, L, width), instead of those of ``token_embedding``.
        """
        assert self.token_embedding is not None
        handle = self.token_embedding.register_forward_hook(lambda *_: vectors)
        try:
            found: Tensor = self.model.encode_text(tokens)  # type: ignore[operator]
        finally:
            handle.remove()
        return F.normalize(found.float(), dim=-1)

    def is_cut(self, prompt: str) -> bool:
        """Whether the prompt has more tokens than the tower's context."""
        length = len(self._empty)
        # No token is less than a byte; the three besides are start, end and a space of the
        # tokenizer's own.
        if len(prompt.encode()) + 3 <= length:
            return False
        row, longer = self.tokenize([prompt])[0], self.tokenize([prompt], length + 1)[0]
        # Where it fits, there is padding in the place more. Some tokenizers pad with the end.
        return not torch.equal(longer[:-1], row) or bool(longer[-1] != self._empty[-1])

    def is_known(self, text: str) -> bool:
        """Whether no part of the text is the tokenizer's unknown token."""
        unknown = getattr(getattr(self.tokenize, "tokenizer", self.tokenize), "unk_token_id", None)
        # Where start, end or padding stand for the unknown token too, it cannot be recognised.
        if unknown is None or unknown in self._empty:
            return True
        return unknown not in self.tokenize([text])[0]

    @cached_property
    def _empty(self) -> Tensor:
        """The tokens of an empty prompt (context length,)."""
        return self.tokenize([""])[0]


def _batches(prompts: list[str], size: int) -> list[list[str]]:
    return [prompts[start : start + size] for start in range(0, len(prompts), size)]
