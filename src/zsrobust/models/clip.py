"""What every loaded model is, wherever it came from: an image side, a text side, a name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from zsrobust.models import text_side
from zsrobust.models.adapters.base import AdapterKind
from zsrobust.models.adapters.options import Adapter
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.protocols import CLIP_MEAN, CLIP_STD, Triple
from zsrobust.models.text_side import CheckedText, FunctionText, TextSide
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import require, require_template


class Defence(Protocol):
    """Something done to images at test time, before a model embeds them."""

    @property
    def undefended(self) -> CLIPModel:
        """The model that is defended, without the defence."""
        ...

    def around(self, classifier: ZeroShotClassifier) -> ZeroShotClassifier:
        """``classifier`` behind the defence; it shares the image encoder."""
        ...


SHOWN = 5
"""Names that a sentence lists at most."""


@dataclass(repr=False)
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
        code: SHA-256 of the source of each class of an encoder that was given as an object.
        record: what ``model.json`` says of the run that made the weights (``weights.RECORD``);
            empty where nothing is known of one.
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
    code: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_encoder(
        cls,
        name: str,
        encoder: nn.Module,
        encode_text: Callable[[list[str]], Tensor],
        *,
        image_size: int,
        mean: Triple = CLIP_MEAN,
        std: Triple = CLIP_STD,
        logit_scale: float | Tensor = 100.0,
        templates: Sequence[str] = ("This is a photo of a {}",),
    ) -> CLIPModel:
        """A model of any two encoders into one space.

        Args:
            name: in results.
            encoder: normalised images (N, 3, S, S) of S = ``image_size`` to embeddings (N, dim).
            encode_text: N prompts to embeddings (N, dim), not differentiated.
            image_size: side in pixels to which images are resized, as CLIP's are.
            mean: per channel, of pixels in [0, 1]; ``(0, 0, 0)`` for an encoder that normalises by
                itself.
            std: the same; ``(1, 1, 1)`` for such an encoder.
            logit_scale: what multiplies cosines in the zero-shot logits; of a model of open_clip
                or transformers ``model.logit_scale.exp()``.
            templates: prompts with ``{}`` where neither data set nor user gives any.

        Raises:
            RequestError: if ``encoder`` is no module, or ``logit_scale`` not above 0 and finite.
        """
        require(isinstance(encoder, nn.Module), "encoder", type(encoder).__name__, "a torch Module")
        if isinstance(logit_scale, Tensor):
            logit_scale = logit_scale.detach().item()
        require(0 < logit_scale < float("inf"), "logit_scale", logit_scale, "above 0 and finite")
        return cls(
            name=name,
            encoder=encoder,
            text=FunctionText(encode_text),
            preprocessing=Preprocessing("clip", image_size, mean=mean, std=std),
            logit_scale=logit_scale,
            default_templates=tuple(templates),
        )

    @property
    def unfinished(self) -> str:
        """How far the run was that made the weights, if it has not finished; else empty."""
        if self.record.get("finished", True):
            return ""
        return f"step {self.record['step']} of {self.record['total_steps']}, not finished"

    def __repr__(self) -> str:
        side = self.preprocessing.image_size
        return f"<CLIPModel {self.name}: {type(self.encoder).__name__}, {side} px, {self.method}>"

    def __post_init__(self) -> None:
        self.source = self.source or self.name

    def classifier(
        self,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        warn: Callable[[str], object] = lambda doubt: warnings.warn(doubt, stacklevel=3),
    ) -> ZeroShotClassifier:
        """The zero-shot classifier over ``class_names``; shares this model's image encoder.

        ``warn`` gets a sentence for each problem: classes with equal vectors, prompts that are cut,
        and words that the model does not know; Python's warnings by default.

        Raises:
            RequestError: if names or templates are one text instead of a list, or a template does
                not hold ``{}`` once, its only brace.
        """
        for key, texts in (("class_names", class_names), ("templates", templates)):
            require(not isinstance(texts, str), key, repr(texts), "a list of texts")
        used = tuple(templates or self.default_templates)
        for template in used:
            require_template("templates", template)
        classifier = self.classifier_of(
            text_side.class_vectors(self.text, class_names, used), class_names, used
        )
        for doubt in self.doubts(classifier):
            warn(doubt)
        return classifier

    def check_classes(
        self,
        class_names: Sequence[str],
        templates: Sequence[str] | None,
        what: str,
        warn: Callable[[str], object] = lambda doubt: None,
    ) -> None:
        """Refuse class names, of the set ``what``, that this model does not tell apart.

        ``warn`` gets the other problems, as in :meth:`classifier`.

        Raises:
            RequestError: if it cannot tell more than half of the classes from another one.
        """
        doubts: list[str] = []
        classifier = self.classifier(class_names, templates, doubts.append)
        equal = [name for group in classifier.indistinguishable() for name in group]
        refused = 2 * len(equal) > len(class_names)
        # The first doubt is what the refusal says; the others are why.
        for doubt in doubts[1:] if refused else doubts:
            warn(f"{what}: {doubt}")
        if refused:
            raise RequestError(
                f"{self.name} cannot tell apart {len(equal)} of the {len(class_names)} classes of "
                f"{what} ({_some(equal, ', ')}): their class vectors are equal, so accuracy over "
                "them means nothing; give names that it knows, or choose another model"
            )

    def doubts(self, classifier: ZeroShotClassifier) -> list[str]:
        """The problems of a classifier's class names, a sentence each; see :meth:`classifier`."""
        names, sentences = classifier.class_names, []
        if groups := classifier.indistinguishable():
            listed = "; ".join(_some(group, ", ") for group in groups[:SHOWN])
            more = f"; and {len(groups) - SHOWN} more groups" if len(groups) > SHOWN else ""
            sentences.append(f"{self.name} cannot tell apart: {listed}{more}")
        cut = [n for n in names if self.cut(t.replace("{}", n) for t in classifier.templates)]
        if cut:
            sentences.append(
                f"{self.name} leaves out the end of prompts, which are longer than its context, "
                f"for {len(cut)} of {len(names)} class names: {_some(cut, '; ')}"
            )
        text = self.text
        unknown = [n for n in names if isinstance(text, CheckedText) and not text.is_known(n)]
        if unknown:
            sentences.append(
                f"{self.name} does not know words of {len(unknown)} of {len(names)} class names, "
                f"and reads all such words as the same one: {_some(unknown, '; ')}"
            )
        return sentences

    def cut(self, prompts: Iterable[str]) -> list[str]:
        """Those that are longer than the text side's context, which leaves out their end."""
        return [p for p in prompts if isinstance(self.text, CheckedText) and self.text.is_cut(p)]

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

    def adapted_encoder(self, kind: AdapterKind, seed: int) -> nn.Module:
        """The encoder with an adapter: changed in place, or a module around it.

        Raises:
            RequestError: if the encoder has no place for it.
        """
        return kind.apply(self.encoder, self.name, self.preprocessing.image_size, seed)

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


def _some(names: Sequence[str], between: str) -> str:
    """The first names, each as far as a sentence has room."""
    shown = [n if len(n) <= 44 else f"{n[:25]}...{n[-16:]}" for n in names[:SHOWN]]
    return between.join([*shown, *(["..."] if len(names) > SHOWN else [])])
