"""A few images before and after the attack, with each model's predictions: ``gallery.npz``.

One NumPy archive holds the pixels as float32 and, under ``about``, everything else as JSON text,
so it is whole or absent and is read without pickle.
"""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zsrobust.attacks import Attack
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_file
from zsrobust.utils.lazy import Tensor, torch

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

SCHEMA = 1
# What NumPy, zipfile and json raise for an archive, or a header or text in it, that is not whole:
# RuntimeError for a bit that says encrypted, or a compression that they do not know; SystemError
# for letters that are none.
_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    SyntaxError,
    RuntimeError,
    SystemError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Prediction:
    """The prediction of a model for an image.

    Attributes:
        name: the class it finds likeliest.
        probability: of that class, in [0, 1].
        right: whether it is the true one.
    """

    name: str
    probability: float
    right: bool

    @property
    def caption(self) -> str:
        """Both in short, with a tick where it is right."""
        return f"{'✓' if self.right else '✗'} {self.name} {self.probability:.0%}"


@dataclass(frozen=True)
class View:
    """An image, clean or attacked.

    Attributes:
        against: the model it was attacked against; empty for the clean image.
        pixels: (3, H, W) float32 in [0, 1].
        predictions: by model.
    """

    against: str
    pixels: NDArray[np.float32]
    predictions: dict[str, Prediction]


@dataclass(frozen=True)
class Item:
    """One sample: the clean view, then one attacked against each model in turn.

    Attributes:
        dataset, sample_id: which sample.
        label: its true class.
        views: 1 + models, pixels of one shape.
    """

    dataset: str
    sample_id: str
    label: str
    views: list[View]


@dataclass(frozen=True)
class Gallery:
    """Samples before and after an attack.

    Attributes:
        attack: attack and radius, such as ``pgd-10 1/255``.
        methods: how each model's weights came about, as in results; the models in order.
        chosen: a sentence on how the samples were chosen.
        items: the samples.
    """

    attack: str
    methods: dict[str, str]
    chosen: str
    items: list[Item]

    def write(self, path: Path) -> None:
        """Write ``path``, whole or not at all."""
        pixels = {
            f"{i}.{v}": view.pixels
            for i, item in enumerate(self.items)
            for v, view in enumerate(item.views)
        }
        about = asdict(self)
        for item in about["items"]:
            for view in item["views"]:
                del view["pixels"]
        text = np.array(json.dumps({"schema": SCHEMA, **about}))
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, about=text, **pixels)

    @classmethod
    def read(cls, path: Path) -> Gallery:
        """Read what :meth:`write` wrote.

        Raises:
            RequestError: if it is missing, damaged or of another schema.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                if about.pop("schema") != SCHEMA:
                    raise RequestError(f"{path} has another schema: this reads {SCHEMA}")
                for i, item in enumerate(about["items"]):
                    item["views"] = [
                        View(
                            view["against"],
                            _pixels(archive[f"{i}.{v}"]),
                            {m: Prediction(**fields) for m, fields in view["predictions"].items()},
                        )
                        for v, view in enumerate(item["views"])
                    ]
                about["items"] = [Item(**item) for item in about["items"]]
                return cls(**about)
        except _DAMAGED as error:
            why = " ".join(str(error).split())
            raise RequestError(f"{path} is missing or damaged: {why}") from None


def _pixels(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if values.dtype != np.float32 or values.ndim != 3 or len(values) != 3:
        raise ValueError(f"an image has type {values.dtype} and shape {values.shape}")
    return values


def attacked_item(
    dataset: str,
    sample_id: str,
    image: Tensor,
    label: int,
    classifiers: Mapping[str, ZeroShotClassifier],
    attack: Attack,
) -> Item:
    """One sample attacked against each model in turn, and every model's prediction on every view.

    Args:
        dataset, sample_id: which sample; the id keys the attack's noise.
        image: (3, H, W) in [0, 1], on the classifiers' device.
        label: the index of its class.
        classifiers: by model, over the same class names.
        attack: run anew against each.
    """
    names = next(iter(classifiers.values())).class_names
    labels = torch.tensor([label], device=image.device)
    views = [("", image[None])]
    views += [
        (model, attack(classifier, image[None], labels, [sample_id]))
        for model, classifier in classifiers.items()
    ]
    return Item(
        dataset,
        sample_id,
        names[label],
        [
            View(
                against,
                images[0].float().cpu().numpy(),
                {model: _said(one, images, label) for model, one in classifiers.items()},
            )
            for against, images in views
        ],
    )


def _said(classifier: ZeroShotClassifier, images: Tensor, label: int) -> Prediction:
    with torch.no_grad():
        probabilities = classifier(images)[0].softmax(-1)
    likeliest = int(probabilities.argmax())
    return Prediction(
        classifier.class_names[likeliest], float(probabilities[likeliest]), likeliest == label
    )
