"""Map-style data sets of torch, such as torchvision's, as image sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image

from zsrobust.data.image_set import ImageSet
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import Tensor


class MapStyle(Protocol):
    """What ``torch.utils.data.Dataset`` is, if it has a length: items (image, label) by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def image_set(
    dataset: MapStyle,
    class_names: Sequence[str] | None = None,
    *,
    name: str | None = None,
    templates: Sequence[str] = (),
    resolution: int | None = None,
    native_size: int | None = None,
) -> ImageSet:
    """A map-style data set of (image, label) as an image set.

    Images are Pillow images, arrays (H, W, 3) of uint8, or tensors (3, H, W): uint8, or floats in
    [0, 1], which are rounded to 8 bits. Normalisation belongs into the model. Labels come from
    ``targets`` or ``labels`` where the data set has them, else from reading all of it.

    Args:
        dataset: whose items are always the same, without random augmentation.
        class_names: in label order; ``dataset.classes`` by default.
        name: in results; the class's name in lower case by default.
        templates: prompts with ``{}`` of this set's own; the model's by default.
        resolution: side in pixels at which the set is attacked; the model's input by default.
        native_size: side of square images that are attacked as they are stored, such as 32 for
            CIFAR; that of tensors by default.

    Raises:
        RequestError: if there are no class names, or items or labels are not as described.
    """
    name = name or type(dataset).__name__.lower()
    names = class_names if class_names is not None else getattr(dataset, "classes", None)
    if names is None:
        raise RequestError(
            f"data {name} has no class names: give zsrobust.image_set(dataset, class_names)"
        )
    if len(dataset) == 0:
        raise RequestError(f"data {name} is empty")
    names = tuple(map(str, names))
    if len(names) < 2:
        raise RequestError(f"data {name} has {len(names)} classes: there must be two or more")
    first = _item(dataset, 0, name)[0]
    stored = _picture(first, name, 0)
    if native_size is None and not isinstance(first, Image.Image) and stored.width == stored.height:
        native_size = stored.width

    def read(index: int) -> Image.Image:
        return _picture(dataset[index][0], name, index)

    return ImageSet(
        name=name,
        split="all",
        class_names=names,
        sample_ids=tuple(map(str, range(len(dataset)))),
        labels=_labels(dataset, name, len(names)),
        read_image=read,
        native_size=native_size,
        templates=tuple(templates),
        resolution=resolution,
        # Not read by several threads, which the data set may not stand.
        checked=True,
    )


def _item(dataset: MapStyle, index: int, name: str) -> tuple[Any, Any]:
    item = dataset[index]
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise RequestError(f"data {name}: item {index} is no (image, label)")
    return item[0], item[1]


def _labels(dataset: MapStyle, name: str, classes: int) -> tuple[int, ...]:
    known = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if known is None or len(known) != len(dataset):
        known = [_item(dataset, index, name)[1] for index in range(len(dataset))]
    try:
        labels = tuple(int(label) for label in known)
    except (TypeError, ValueError):
        raise RequestError(f"data {name}: labels must be whole numbers, one an image") from None
    wrong = next((label for label in labels if not 0 <= label < classes), None)
    if wrong is not None:
        raise RequestError(f"data {name}: label {wrong} is outside its {classes} class names")
    return labels


def _picture(image: Any, name: str, index: int) -> Image.Image:
    if isinstance(image, Image.Image):
        return image
    if isinstance(image, Tensor):
        # NumPy has no bfloat16, and takes no tensor of another device or of a graph.
        image = image.detach().cpu()
        image = image.float() if image.is_floating_point() else image
    pixels = np.asarray(image)
    given, is_tensor = pixels.dtype, not isinstance(image, np.ndarray)
    if is_tensor and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if np.issubdtype(pixels.dtype, np.floating):
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= -1e-6 and high <= 1 + 1e-6):
            raise RequestError(
                f"data {name}: pixels of item {index} lie in [{low:.3g}, {high:.3g}], not in "
                "[0, 1]: leave the normalisation to the model"
            )
        pixels = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise RequestError(
            f"data {name}: item {index} is {given} of shape {tuple(np.shape(image))}: an image is "
            "a Pillow image, a uint8 array (H, W, 3), or a tensor (3, H, W) of uint8 or in [0, 1]"
        )
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
