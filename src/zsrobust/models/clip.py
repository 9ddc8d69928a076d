"""What every loaded model is, wherever it came from: an image side, a text side, a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from zsrobust.models import text_cache
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.zero_shot import ZeroShotClassifier


class TextSide(Protocol):
    """Class names and templates to class vectors."""

    fingerprint: str
    """Hash of everything that decides the vectors besides names and templates."""

    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32 on the CPU, averaged over the templates."""
        ...


@dataclass
class CLIPModel:
    """A CLIP: an image encoder, a frozen text side, and how pixels reach the encoder.

    Attributes:
        name: the name under which it can be loaded again.
        encoder: preprocessed images (N, 3, S, S) to raw embeddings (N, dim).
        text: class names to class vectors, frozen.
        preprocessing: images in [0, 1] to what ``encoder`` takes.
        logit_scale: what multiplies cosines in the zero-shot logits.
        default_templates: prompts used where neither data set nor user gives any.
        seen: names and places of data sets whose images or labels this model was trained on.
        source: the pre-trained model this was fine-tuned from; ``name`` itself where it was not.
        recipe: hash of the fine-tuning's configuration but for its seed; empty where none is known.
        loader_resize: how photographs are to be brought to the attack resolution.
        method: how the weights came about; ``original`` where they were not fine-tuned here.
    """

    name: str
    encoder: nn.Module
    text: TextSide
    preprocessing: Preprocessing
    logit_scale: float
    default_templates: tuple[str, ...] = ("This is a photo of a {}",)
    seen: frozenset[str] = frozenset()
    source: str = ""
    method: str = "original"
    recipe: str = ""
    loader_resize: str = "clip"

    def __post_init__(self) -> None:
        self.source = self.source or self.name

    def classifier(
        self, class_names: Sequence[str], templates: Sequence[str] | None = None
    ) -> ZeroShotClassifier:
        """The zero-shot classifier over ``class_names``; shares this model's image encoder."""
        used = tuple(templates or self.default_templates)
        vectors = text_cache.encode(self.text, class_names, used)
        return ZeroShotClassifier.from_parts(
            self.encoder,
            vectors.to(self.preprocessing.mean.device),
            class_names,
            preprocessing=self.preprocessing,
            logit_scale=self.logit_scale,
            templates=used,
        )
