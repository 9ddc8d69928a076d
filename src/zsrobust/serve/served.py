"""The served models: loaded once, frozen, with any class names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from zsrobust.demo.examples import CLASS_NAMES
from zsrobust.models import photo_lite
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.serve.limits import Limits
from zsrobust.serve.picture import Picture
from zsrobust.utils.errors import RequestError

PHOTO_MODELS = ("photo-lite", "photo-lite-robust")
GLYPH_MODELS = ("glyph-clip", "glyph-clip-robust")


def default_models() -> tuple[str, ...]:
    """Served where no model is named: those for photographs if the extra photo is installed."""
    return PHOTO_MODELS if photo_lite.is_installed() else GLYPH_MODELS


class ServedModel:
    """A served model.

    Args:
        name: as given.
        model: loaded; its encoder is frozen here, so that attacks and predictions may share it.
    """

    def __init__(self, name: str, model: CLIPModel) -> None:
        self.name = name
        self.model = model
        model.encoder.eval().requires_grad_(False)
        self._weights = fingerprint(model.encoder)
        # Names that visitors type are cached in memory alone, and not all of them.
        self._vectors = lru_cache(maxsize=16)(self._encode)

    def classifier(self, class_names: tuple[str, ...]) -> ZeroShotClassifier:
        """The zero-shot classifier over these names, with the model's own prompts."""
        return self.model.classifier_of(
            self._vectors(class_names), class_names, self.model.default_templates
        ).to(self.device)

    def pixels(self, picture: Picture) -> Tensor:
        """The picture at this model's attack resolution, (1, 3, S, S) in [0, 1]."""
        size = self.model.preprocessing.image_size
        return picture.pixels(size, self.model.loader_resize).to(self.device)

    def indistinguishable(self, class_names: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Groups of names with equal text embeddings, which this model cannot tell apart."""
        return self.classifier(class_names).indistinguishable()

    @property
    def reads_photographs(self) -> bool:
        """Whether it distinguishes the classes of the photographs among the examples."""
        return not self.indistinguishable(CLASS_NAMES)

    def doubts(self, class_names: tuple[str, ...]) -> list[str]:
        """What it cannot read of these names, in sentences."""
        return self.model.doubts(self.classifier(class_names))

    @property
    def device(self) -> torch.device:
        """Where its encoder is."""
        return next(self.model.encoder.parameters()).device

    def about(self) -> dict[str, Any]:
        """What determines its predictions, for the results."""
        return {
            "name": self.name,
            "method": self.model.method,
            "unfinished": self.model.unfinished,
            "source": self.model.source,
            "weights": self._weights,
            "loader_resize": self.model.loader_resize,
            "preprocessing": self.model.preprocessing.describe(),
            "templates": self.model.default_templates,
            "logit_scale": self.model.logit_scale,
        }

    @torch.no_grad()
    def _encode(self, class_names: tuple[str, ...]) -> Tensor:
        return self.model.text.encode(class_names, self.model.default_templates)


def load_served(
    names: Sequence[str], device: torch.device, limits: Limits
) -> tuple[ServedModel, ...]:
    """The models of these names, in their order.

    Raises:
        RequestError: if there are too many, one is named twice, or one cannot be loaded.
    """
    if len(names) > limits.models:
        raise RequestError(f"{len(names)} models are too many: name {limits.models} at most")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RequestError(f"the model {twice} is named twice: name it once")
    return tuple(ServedModel(name, load(name, device=device)) for name in names)
