"""What every data set is to the rest of the package: named, split, labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class ImageSet:
    """A labelled set of images, read one at a time.

    Attributes:
        name: the set's name in results, such as ``tiny-imagenet``.
        split: ``train``, ``val``, ``test`` or ``all``.
        class_names: C names in label order, as prompts use them.
        sample_ids: one stable id a sample, unique in (name, split): the path below the root, or
            the index where there is no file.
        labels: one label in [0, C) a sample.
        read_image: index to the image as stored; any Pillow mode.
        native_size: side in pixels where attacks on this set are defined on the stored pixels
            (32 for CIFAR); None where the loader brings photographs to one size first.
        templates: prompts of this set's own, empty for the model's default.
        resolution: attack resolution asked for in the data specification, None for the default.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    sample_ids: Sequence[str]
    labels: Sequence[int]
    read_image: Callable[[int], Image.Image]
    native_size: int | None = None
    templates: tuple[str, ...] = ()
    resolution: int | None = None

    def __len__(self) -> int:
        return len(self.sample_ids)
