"""Pixels in, logits out: the one object that attacks and evaluations see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zsrobust.utils.errors import RequestError

EQUAL = 1e-5
"""How far apart unit class vectors may be by rounding: no logit differs by more than it, scaled."""

_ROWS = 512


def cosine_logits(embeddings: Tensor, class_embeddings: Tensor) -> Tensor:
    """Cosine of each image embedding (N, dim) with each unit class vector (C, dim), in fp32.

    Runs in fp32 even under autocast: the softmax of cosines times 100 does not survive bf16.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        return F.normalize(embeddings.float(), dim=-1) @ class_embeddings.float().T


def require_output(found: object, source: str, kind: str, n: int, width: int) -> None:
    """Refuse what is not one row an image: it would fail in a later sum, or pass for another.

    Args:
        found: what ``source`` gave for ``n`` images.
        source, kind: what they are called in the message.
        width: of a row.

    Raises:
        RequestError: unless ``found`` is a tensor (n, width).
    """
    if not isinstance(found, Tensor):
        raise RequestError(f"{source} gives {type(found).__name__}: must be a tensor of {kind}")
    if found.shape != (n, width):
        raise RequestError(
            f"{source} gives {tuple(found.shape)} for {n} images: must be {kind} ({n}, {width})"
        )


class ZeroShotClassifier(nn.Module):
    """A zero-shot classifier from images in [0, 1], shape (N, 3, H, W), to logits (N, C).

    Resize and normalisation are differentiable and live inside. Class vectors are encoded once,
    before, so no text passes through the model during an attack.

    Args:
        encoder: preprocessed images (N, 3, S, S) to raw embeddings (N, dim).
        preprocessing: images in [0, 1] of any size to what ``encoder`` takes.
        class_embeddings: one vector a class, (C, dim); scaled to unit length here.
        logit_scale: what multiplies the cosines (about 100 for OpenAI's CLIP).
        class_names: C names, in label order.
        templates: the prompts the class embeddings were averaged over, ``{}`` for the name.
    """

    class_embeddings: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        preprocessing: nn.Module,
        class_embeddings: Tensor,
        logit_scale: float,
        class_names: Sequence[str],
        templates: Sequence[str] = ("{}",),
    ) -> None:
        super().__init__()
        if class_embeddings.ndim != 2 or len(class_embeddings) != len(class_names):
            raise ValueError(
                f"class_embeddings has shape {tuple(class_embeddings.shape)}, "
                f"but there are {len(class_names)} class names"
            )
        self.encoder = encoder
        self.preprocessing = preprocessing
        self.register_buffer(
            "class_embeddings",
            F.normalize(class_embeddings.detach().float(), dim=-1),
            persistent=False,
        )
        self.logit_scale = float(logit_scale)
        self.class_names = tuple(class_names)
        self.templates = tuple(templates)
        self._observer: Callable[[int, int], None] | None = None

    @classmethod
    def from_parts(
        cls,
        encoder: nn.Module,
        class_embeddings: Tensor,
        class_names: Sequence[str],
        *,
        preprocessing: nn.Module | None = None,
        logit_scale: float = 100.0,
        templates: Sequence[str] = ("{}",),
    ) -> ZeroShotClassifier:
        """Build from any image encoder and one vector a class; every loaded model comes this way.

        Without ``preprocessing`` the encoder receives the images in [0, 1] as they are.
        """
        return cls(
            encoder,
            preprocessing or nn.Identity(),
            class_embeddings,
            logit_scale,
            class_names,
            templates,
        )

    def indistinguishable(self) -> list[tuple[str, ...]]:
        """Groups of two or more class names whose vectors are equal up to rounding.

        Their logits are equal for every image, so accuracy over them means nothing.
        """
        if self.class_embeddings.is_meta:
            return []  # There are no values to compare.
        groups: dict[int, list[str]] = {}
        for name, first in zip(self.class_names, _first_equal(self.class_embeddings), strict=True):
            groups.setdefault(first, []).append(name)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def further_settings(self) -> dict[str, object]:
        """What decides its answers besides its attributes, for results; nothing here."""
        return {}

    @property
    def undefended(self) -> ZeroShotClassifier:
        """The classifier without its test-time defence; itself where it has none."""
        return self

    @property
    def randomised(self) -> bool:
        """Whether its answers depend on random numbers."""
        return False

    def redrawn(self, key: int) -> ZeroShotClassifier:
        """The same with other random numbers, independent of its own and of those of other keys."""
        del key
        return self

    def share_observer(self, other: ZeroShotClassifier) -> None:
        """Tell the observer that ``other`` has of the passes made here."""
        self._observer = other._observer

    @property
    def encoder_passes(self) -> int:
        """Passes through the image encoder that one through this classifier takes, at most.

        One here; more behind a defence.
        """
        return 1

    @contextmanager
    def observed(self, observer: Callable[[int, int], None]) -> Iterator[None]:
        """Inside, call ``observer`` with the samples of every pass, and how many passes it is.

        Two where there is a gradient, for the backward pass that follows, else one.
        """
        self._observer = observer
        try:
            yield
        finally:
            self._observer = None

    def embed(self, images: Tensor) -> Tensor:
        """Raw image embeddings (N, dim) of images in [0, 1], shape (N, 3, H, W).

        Raises:
            RequestError: if the encoder gives anything else.
        """
        embeddings: Tensor = self.encoder(self.preprocessing(images))
        require_output(embeddings, "the image encoder", "embeddings", images.shape[0], self._dim)
        return embeddings

    @property
    def _dim(self) -> int:
        return self.class_embeddings.shape[-1]

    def features(self, images: Tensor) -> Tensor:
        """Image embeddings (N, dim) on the unit sphere, in fp32."""
        return F.normalize(self.embed(images).float(), dim=-1)

    def logits(self, embeddings: Tensor, logit_scale: float | None = None) -> Tensor:
        """Logits (N, C) in fp32 of raw embeddings (N, dim), at ``logit_scale`` or the model's."""
        self.passed(embeddings)
        scale = self.logit_scale if logit_scale is None else logit_scale
        return scale * cosine_logits(embeddings, self.class_embeddings)

    def passed(self, output: Tensor) -> None:
        """Tell the observer, if there is one, of the pass that made ``output`` (N, ...)."""
        if self._observer is not None:
            self._observer(len(output), 2 if output.requires_grad else 1)

    def forward(self, images: Tensor, logit_scale: float | None = None) -> Tensor:
        """Logits (N, C) in fp32 of images in [0, 1], shape (N, 3, H, W).

        At ``logit_scale``, or the model's own.
        """
        return self.logits(self.embed(images), logit_scale)


class Wrapped(ZeroShotClassifier):
    """A classifier that shares the modules and class vectors of ``classifier``."""

    def __init__(self, classifier: ZeroShotClassifier) -> None:
        super().__init__(
            classifier.encoder,
            classifier.preprocessing,
            classifier.class_embeddings,
            classifier.logit_scale,
            classifier.class_names,
            classifier.templates,
        )
        # Not scaled to unit length once more, so that every bit is the classifier's.
        self.class_embeddings = classifier.class_embeddings


class Blended(Wrapped):
    """A stand-in for ``classifier`` that attacks see: other logits, or another gradient.

    Args:
        classifier: what it stands for.
        logits_of: images (N, 3, H, W) in [0, 1] to logits (N, C), at the classifier's scale.
    """

    def __init__(
        self, classifier: ZeroShotClassifier, logits_of: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__(classifier)
        self._of, self._logits_of = (classifier,), logits_of

    @property
    def undefended(self) -> ZeroShotClassifier:
        """That of the classifier it stands for."""
        return self._of[0].undefended

    def forward(self, images: Tensor, logit_scale: float | None = None) -> Tensor:
        """Logits (N, C) in fp32 of images in [0, 1], shape (N, 3, H, W)."""
        logits = self._logits_of(images)
        return logits if logit_scale is None else logits * (logit_scale / self.logit_scale)


def mean_logits(classifiers: Sequence[ZeroShotClassifier], images: Tensor) -> Tensor:
    """The mean of the logits (N, C) of ``classifiers``.

    The backward pass repeats one forward pass after the other, so that the activations of one
    classifier are in memory at a time.
    """
    mean: Tensor = _MeanLogits.apply(images, classifiers)
    return mean


class _MeanLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, classifiers: Sequence[ZeroShotClassifier]) -> Tensor:
        ctx.save_for_backward(images)
        ctx.classifiers = classifiers
        return torch.stack([classifier(images) for classifier in classifiers]).mean(0)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (images,) = ctx.saved_tensors
        total = torch.zeros_like(images)
        for classifier in ctx.classifiers:
            with torch.enable_grad():
                at = images.detach().requires_grad_(True)
                logits = classifier(at)
            total += torch.autograd.grad(logits, at, upstream)[0]
        return total / len(ctx.classifiers), None


def _first_equal(vectors: Tensor) -> list[int]:
    """For each of the vectors (C, dim) the index of the first that is equal up to rounding."""
    # The difference of squares below would be lost in fp32.
    vectors = vectors.detach().double().cpu()
    squares = vectors.square().sum(1)
    first: list[int] = []
    for start in range(0, len(vectors), _ROWS):
        rows = vectors[start : start + _ROWS]
        distances = rows.square().sum(1)[:, None] + squares - 2 * rows @ vectors.T
        equal = distances <= EQUAL**2
        for index, at in enumerate(equal.int().argmax(1).tolist(), start):
            first.append(first[at] if equal[index - start, at] and at < index else index)
    return first
