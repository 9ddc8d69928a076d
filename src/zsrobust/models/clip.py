"""What every loaded model is, wherever it came from: an image side, a text side, a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from zsrobust.errors import RequestError
from zsrobust.models import text_cache
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.zero_shot import ZeroShotClassifier


class TextSide(Protocol):
    """Class names and templates to class vectors."""

    fingerprint: str
    """Hash of everything that decides the vectors besides names and templates."""

    def encode(self, class_names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """One unit vector a class, (C, dim), fp32 on the CPU, averaged over the templates."""
        ...


class Defence(Protocol):
    """Something done to images at test time, before a model embeds them."""

    @property
    def undefended(self) -> CLIPModel:
        """The model that is defended, without the defence."""
        ...

    def around(self, classifier: ZeroShotClassifier) -> ZeroShotClassifier:
        """``classifier`` behind the defence; it shares the image encoder."""
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
        method: how the weights came about; ``original`` where they were not fine-tuned here. With
            a defence, that as well.
        adapter: what of the encoder the last fine-tuning trained.
        defence: at test time, within every classifier of this model; None for none.
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
    adapter: Adapter = field(default_factory=Adapter)
    defence: Defence | None = None

    def __post_init__(self) -> None:
        self.source = self.source or self.name

    def classifier(
        self, class_names: Sequence[str], templates: Sequence[str] | None = None
    ) -> ZeroShotClassifier:
        """The zero-shot classifier over ``class_names``; shares this model's image encoder."""
        used = tuple(templates or self.default_templates)
        return self.classifier_of(
            text_cache.encode(self.text, class_names, used), class_names, used
        )

    def classifier_of(
        self, vectors: Tensor, class_names: Sequence[str], templates: Sequence[str]
    ) -> ZeroShotClassifier:
        """The same from class vectors (C, dim) that the text side gave for these prompts."""
        classifier = ZeroShotClassifier.from_parts(
            self.encoder,
            vectors.to(self.preprocessing.mean.device),
            class_names,
            preprocessing=self.preprocessing,
            logit_scale=self.logit_scale,
            templates=templates,
        )
        return self.defence.around(classifier) if self.defence else classifier

    def require_undefended(self, purpose: str) -> None:
        """Refuse a defended model where its weights alone are meant, for ``purpose``.

        Raises:
            RequestError: if there is a defence.
        """
        if self.defence:
            raise RequestError(
                f"{self.name} has a test-time defence, which {purpose} cannot take along: name "
                f"{self.defence.undefended.name} instead"
            )
