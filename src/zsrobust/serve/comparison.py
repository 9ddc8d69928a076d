"""Every model attacked, and every model's prediction for every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zsrobust._version import __version__
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.serve.attack import Settings, Step, attack
from zsrobust.serve.picture import Picture
from zsrobust.serve.served import ServedModel
from zsrobust.utils.devices import full_precision

OnStep = Callable[[str, Step], None]
"""Called with the model under attack and each iterate."""


@dataclass(frozen=True)
class Prediction:
    """A probability in [0, 1] for every class, likeliest first."""

    probabilities: dict[str, float]

    @classmethod
    def of(cls, class_names: Sequence[str], probabilities: Tensor) -> Prediction:
        """From probabilities (C,) in label order."""
        order = probabilities.argsort(descending=True, stable=True).tolist()
        values = probabilities.tolist()
        return cls({class_names[index]: values[index] for index in order})

    @property
    def top(self) -> str:
        """The likeliest class."""
        return next(iter(self.probabilities))

    def likeliest(self, count: int) -> list[str]:
        """The ``count`` likeliest classes."""
        return list(self.probabilities)[:count]

    @property
    def text(self) -> str:
        """The likeliest class and its probability, such as ``cat 87%``."""
        return f"{self.top} {self.probabilities[self.top]:.0%}"

    def merged(self, groups: Sequence[Sequence[str]]) -> Prediction:
        """The same with each group of names that are one to the model as one class."""
        called = {
            name: " = ".join([*group[:3], *(["..."] if len(group) > 3 else [])])
            for group in groups
            for name in group
        }
        sums: dict[str, float] = {}
        for name, probability in self.probabilities.items():
            name = called.get(name, name)
            sums[name] = sums.get(name, 0) + probability
        return Prediction(dict(sorted(sums.items(), key=lambda item: -item[1])))


@dataclass(frozen=True)
class Attacked:
    """The white-box attack on one model.

    Attributes:
        model: its name.
        label: the class of the loss: the clean prediction, or the target.
        clean, adversarial: pixels (3, S, S) in [0, 1].
        predictions: every model's on ``adversarial``.
        predictions_8bit: the same after rounding to 256 levels, as in a PNG file.
    """

    model: str
    label: str
    clean: Tensor
    adversarial: Tensor
    predictions: dict[str, Prediction]
    predictions_8bit: dict[str, Prediction]

    @property
    def distance(self) -> float:
        """L-inf distance to the clean image, in [0, 1]."""
        return float((self.adversarial - self.clean).abs().max())

    @property
    def distance_8bit(self) -> float:
        """The same after rounding, which may add half a level."""
        return float((rounded(self.adversarial) - self.clean).abs().max())


@dataclass(frozen=True)
class Comparison:
    """One image, clean and attacked on every model.

    Attributes:
        picture: the image.
        class_names: in label order.
        settings: of the attacks.
        clean: every model's prediction on the clean image, at its own attack resolution.
        attacked: one a model.
        models: what determines each model's predictions.
        indistinguishable: by model, groups of class names that it cannot tell apart.
    """

    picture: Picture
    class_names: tuple[str, ...]
    settings: Settings
    clean: dict[str, Prediction]
    attacked: list[Attacked]
    models: list[dict[str, Any]]
    indistinguishable: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)

    def merged(self, model: str, prediction: Prediction) -> Prediction:
        """A prediction of ``model`` with names that it cannot tell apart as one class."""
        return prediction.merged(self.indistinguishable.get(model, ()))

    def figures(self) -> dict[str, Any]:
        """Every number, as in ``comparison.json``."""
        threat, target = self.settings.threat, self.settings.target
        return {
            "schema": 1,
            "zsrobust": __version__,
            "torch": torch.__version__,
            "image": {
                "name": self.picture.name,
                "size": list(self.picture.image.size),
                "sample_id": self.picture.sample_id,
                "notes": list(self.picture.notes),
            },
            "class_names": list(self.class_names),
            "threat_model": {"norm": threat.norm, "eps": threat.eps, "bounds": list(threat.bounds)},
            "attack": {
                **self.settings.describe(),
                "target": None if target is None else self.class_names[target],
            },
            "models": self.models,
            "clean": {name: p.probabilities for name, p in self.clean.items()},
            "indistinguishable": self.indistinguishable,
            "attacks": [
                {
                    "model": one.model,
                    "label": one.label,
                    "resolution": one.clean.shape[-1],
                    "linf_distance": one.distance,
                    "linf_distance_8bit": one.distance_8bit,
                    "predictions": {name: p.probabilities for name, p in one.predictions.items()},
                    "predictions_8bit": {
                        name: p.probabilities for name, p in one.predictions_8bit.items()
                    },
                }
                for one in self.attacked
            ],
        }


def rounded(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] at the nearest of 256 levels."""
    return (pixels * 255).round() / 255


@torch.no_grad()
def predict(classifier: ZeroShotClassifier, images: Tensor) -> Prediction:
    """A classifier's prediction on one image (1, 3, H, W) in [0, 1]."""
    return Prediction.of(classifier.class_names, classifier(images)[0].softmax(-1))


def clean_predictions(
    picture: Picture, class_names: tuple[str, ...], models: Sequence[ServedModel]
) -> dict[str, Prediction]:
    """Each model's prediction on the picture, at its own attack resolution."""
    with full_precision():
        return {
            one.name: predict(one.classifier(class_names), one.pixels(picture)) for one in models
        }


def compare(
    picture: Picture,
    class_names: tuple[str, ...],
    settings: Settings,
    models: Sequence[ServedModel],
    on_step: OnStep,
) -> Comparison:
    """Attack the image on each model (white box), and take every model's predictions.

    A model gets the adversarial image of another at that other's resolution, through its own
    resize.

    Args:
        picture: the image.
        class_names: in label order.
        settings: of the attacks; without a target each model is attacked away from its own clean
            prediction.
        models: in order.
        on_step: called with each iterate; what it raises ends the comparison.

    Raises:
        Diverged: if a gradient is NaN.
    """
    classifiers = {one.name: one.classifier(class_names) for one in models}
    clean = clean_predictions(picture, class_names, models)
    attacked = []
    with full_precision():
        for one in models:
            label = class_names.index(clean[one.name].top)
            image = one.pixels(picture)
            adversarial = attack(
                classifiers[one.name],
                image,
                label,
                settings,
                picture.sample_id,
                partial(on_step, one.name),
            )
            attacked.append(
                Attacked(
                    model=one.name,
                    label=class_names[label if settings.target is None else settings.target],
                    clean=image[0].cpu(),
                    adversarial=adversarial[0].cpu(),
                    predictions=_by_all(classifiers, adversarial),
                    predictions_8bit=_by_all(classifiers, rounded(adversarial)),
                )
            )
    about = [one.about() | classifiers[one.name].further_settings() for one in models]
    groups = {name: one.indistinguishable() for name, one in classifiers.items()}
    return Comparison(picture, class_names, settings, clean, attacked, about, groups)


def _by_all(classifiers: dict[str, ZeroShotClassifier], images: Tensor) -> dict[str, Prediction]:
    return {
        name: predict(one, images.to(one.class_embeddings.device))
        for name, one in classifiers.items()
    }
