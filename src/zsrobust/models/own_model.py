"""Classifiers of the user's own in the place of a model, for evaluation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.text_side import FunctionText
from zsrobust.models.zero_shot import ZeroShotClassifier, require_output
from zsrobust.utils.errors import RequestError

_NAMED = {"open_clip": "local-dir:FOLDER", "transformers": "transformers:FOLDER"}


def own_model(name: str, module: nn.Module) -> CLIPModel:
    """``module`` as a model that has no text side: its classes are fixed.

    Args:
        name: in results.
        module: a :class:`ZeroShotClassifier`, or any module from images in [0, 1], (N, 3, H, W), to
            logits (N, C).

    Raises:
        RequestError: if it is a model of open_clip or transformers, which takes images otherwise.
    """
    library = type(module).__module__.partition(".")[0]
    if library in ("open_clip", "transformers"):
        raise RequestError(
            f"{name} is a {type(module).__name__} of {library}, not a module from images in [0, 1] "
            f"to logits: name its folder, as {_NAMED[library]}, or give its two encoders to "
            "zsrobust.CLIPModel.from_encoder"
        )
    if not isinstance(module, ZeroShotClassifier):
        return _Logits(name, module, _no_text(name), OwnPreprocessing(nn.Identity()), 1.0)
    preprocessing = module.preprocessing
    if not isinstance(preprocessing, Preprocessing):
        preprocessing = OwnPreprocessing(preprocessing)
    made = _Fixed(name, module.encoder, _no_text(name), preprocessing, module.logit_scale)
    made.fixed = module
    return made


class OwnPreprocessing(Preprocessing):
    """Any module in the place of a protocol; it takes images of any size.

    Args:
        module: images in [0, 1], (N, 3, H, W), to what the encoder takes.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__("clip", image_size=0)
        self.module = module
        self.protocol = "own"

    def forward(self, images: Tensor) -> Tensor:
        """What the module gives."""
        prepared: Tensor = self.module(images)
        return prepared

    def with_protocol(self, protocol: str) -> Preprocessing:
        """Refused.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"preprocessing is {protocol}: a classifier that is given has its own")

    def describe(self) -> dict[str, object]:
        """The module as PyTorch prints it."""
        return {"protocol": self.protocol, "module": " ".join(str(self.module).split())}


@dataclass(repr=False)
class _Fixed(CLIPModel):
    """A zero-shot classifier that is given whole."""

    fixed: ZeroShotClassifier | None = None

    def classifier(
        self,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        warn: Callable[[str], object] = lambda doubt: None,
    ) -> ZeroShotClassifier:
        """A copy of the given one, with this model's encoder.

        Raises:
            RequestError: if it is over other classes.
        """
        assert self.fixed is not None
        if self.fixed.class_names != tuple(class_names):
            raise RequestError(
                f"{self.name} classifies {_some(self.fixed.class_names)}, and the data's classes "
                f"are {_some(class_names)}: make a classifier for each data set"
            )
        # A copy, so that the given one stays as it is; the encoder is one already.
        made = copy.deepcopy(self.fixed, {id(self.fixed.encoder): self.encoder})
        for doubt in self.doubts(made):
            warn(doubt)
        return made


@dataclass(repr=False)
class _Logits(CLIPModel):
    """Any module from images to logits."""

    def classifier(
        self,
        class_names: Sequence[str],
        templates: Sequence[str] | None = None,
        warn: Callable[[str], object] = lambda doubt: None,
    ) -> ZeroShotClassifier:
        """The module as a classifier over ``class_names``, in the order of its logits."""
        return LogitsClassifier(self.encoder, class_names, self.name)


class LogitsClassifier(ZeroShotClassifier):
    """A module from images to logits where a zero-shot classifier is asked for.

    Its embeddings are the logits, at the logit scale 1.

    Args:
        module: images in [0, 1], (N, 3, H, W), to logits (N, C).
        class_names: C names, in the order of the logits.
        name: for messages.
    """

    def __init__(
        self, module: nn.Module, class_names: Sequence[str], name: str = "the module"
    ) -> None:
        classes = torch.eye(len(class_names))
        super().__init__(module, nn.Identity(), classes, 1.0, class_names)
        self.name = name

    def embed(self, images: Tensor) -> Tensor:
        """The logits (N, C) of images in [0, 1], shape (N, 3, H, W).

        Raises:
            RequestError: if the module gives anything else.
        """
        found: Tensor = self.encoder(images)
        require_output(found, self.name, "logits", images.shape[0], len(self.class_names))
        return found

    def logits(self, embeddings: Tensor, logit_scale: float | None = None) -> Tensor:
        """The logits (N, C) in fp32, times ``logit_scale`` where one is given."""
        return embeddings.float() * (1.0 if logit_scale is None else logit_scale)


def _no_text(name: str) -> FunctionText:
    def embed(prompts: list[str]) -> Tensor:
        raise RequestError(f"{name} has no text side")

    return FunctionText(embed)


def _some(names: Sequence[str]) -> str:
    first = ", ".join(names[:3])
    return f"{len(names)} classes ({first}{', ...' if len(names) > 3 else ''})"
