"""CIFAR-10 and CIFAR-100, attacked on their stored 32 x 32 pixels."""

from __future__ import annotations

from pathlib import Path

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import clean_name
from zsrobust.data.readers import ArrayReader
from zsrobust.utils.errors import RequestError

_FETCH = 'python -c "import torchvision; torchvision.datasets.CIFAR{}({!r}, download=True)"'

LAYOUTS = {
    10: f"torchvision's cifar-10-batches-py, fetched with {_FETCH.format(10, 'PATH')}",
    100: f"torchvision's cifar-100-python, fetched with {_FETCH.format(100, 'PATH')}",
}


def cifar(classes: int, root: Path, split: str) -> ImageSet:
    """CIFAR-10 or CIFAR-100 (``classes`` is 10 or 100), split ``train`` or ``test``.

    ``root`` holds torchvision's folder (``cifar-10-batches-py`` or ``cifar-100-python``), or is
    that folder. Nothing is downloaded.

    Raises:
        RequestError: if the files are not there or not intact.
    """
    from torchvision import datasets

    kind = datasets.CIFAR10 if classes == 10 else datasets.CIFAR100
    if root.name == kind.base_folder:
        root = root.parent
    try:
        stored = kind(root, train=split == "train", download=False)
    except RuntimeError:
        raise RequestError(
            f"CIFAR-{classes} is not in {root / kind.base_folder}, or not intact: "
            f"fetch it with {_FETCH.format(classes, str(root))}"
        ) from None
    return ImageSet(
        name=f"cifar{classes}",
        split=split,
        class_names=tuple(clean_name(name) for name in stored.classes),
        sample_ids=tuple(str(index) for index in range(len(stored.targets))),
        labels=tuple(stored.targets),
        read_image=ArrayReader(stored.data),
        native_size=32,
    )
