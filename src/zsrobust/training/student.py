"""The model in training: one forward a step for everything an objective reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zsrobust.models.patch_tokens import embed_with_tokens
from zsrobust.objectives.base import View


class Student(nn.Module):
    """An image encoder behind its preprocessing, called once a step with every view it must see.

    One call a step lets distributed training synchronise once.

    Args:
        encoder: preprocessed images (N, 3, S, S) to raw embeddings (N, dim).
        preprocessing: images in [0, 1] to what ``encoder`` takes.
        train_batch_norm: let batch statistics normalise and move the stored ones; else BatchNorm
            stays as in evaluation.
        tokens: give patch tokens beside the embeddings; the tower must have them.
        head: a module that the loss puts on top of the embeddings; here to be trained with them.
    """

    def __init__(
        self,
        encoder: nn.Module,
        preprocessing: nn.Module,
        *,
        train_batch_norm: bool = False,
        tokens: bool = False,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.preprocessing = preprocessing
        self.train_batch_norm = train_batch_norm
        self.tokens = tokens
        self.head = head

    def train(self, mode: bool = True) -> Student:
        """Training mode for everything but BatchNorm, unless that was asked for."""
        super().train(mode)
        if not self.train_batch_norm:
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, views: dict[View, Tensor]) -> tuple[dict[View, Tensor], dict[View, Tensor]]:
        """Raw embeddings (N, dim) by view of images (N, 3, H, W) in [0, 1], and patch tokens.

        The tokens (N, patches, dim) are an empty dictionary unless asked for.
        """
        if self._mixes_samples():
            return {view: self._embed(images) for view, images in views.items()}, {}
        together = torch.cat(list(views.values()))
        if not self.tokens:
            return _split(self._embed(together), views), {}
        embeddings, tokens = embed_with_tokens(self.encoder, self.preprocessing(together))
        return _split(embeddings, views), _split(tokens, views)

    def _mixes_samples(self) -> bool:
        # Clean and adversarial images in one batch would share BatchNorm's statistics. (Towers
        # with patch tokens have none.)
        return any(
            isinstance(module, _BatchNorm) and module.training for module in self.encoder.modules()
        )

    def _embed(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.encoder(self.preprocessing(images))
        return embeddings


def _split(together: Tensor, views: dict[View, Tensor]) -> dict[View, Tensor]:
    parts = torch.split(together, [len(images) for images in views.values()])
    return dict(zip(views, parts, strict=True))
