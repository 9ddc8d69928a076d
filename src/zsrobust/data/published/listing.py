"""What reading a set's own files gives, before it has class names of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from zsrobust.data.readers import images_below, subfolders
from zsrobust.utils.errors import RequestError

# Folders in the published archives that are no classes.
NO_CLASSES = ("BACKGROUND_Google",)


@dataclass(frozen=True)
class Listing:
    """The samples of one split as the set's own files name them.

    Attributes:
        classes: the published spelling of each class, in label order.
        labels: one label in [0, C) a sample.
        paths: one path a sample below the set's own folder, in posix form; empty where samples are
            no files.
        read_image: index to image where samples are no files.
        stamp: hash of the files that hold the samples, where samples are no files.
    """

    classes: Sequence[str]
    labels: Sequence[int]
    paths: Sequence[str] = ()
    read_image: Callable[[int], Image.Image] | None = None
    stamp: str = ""


def class_folders(root: Path, below: str, expected: Sequence[str]) -> Listing:
    """Images in one folder a class, ``root/below/<class>``; labels are indices into ``expected``.

    Raises:
        RequestError: if class folders are missing, hold no images, or are of no class of the set.
    """
    here = root / below
    present = set(subfolders(here))
    odd = sorted(present - {*expected, *NO_CLASSES})
    if odd and not present.isdisjoint(expected):
        raise RequestError(
            f"{here} has {len(odd)} folders that are none of the set's {len(expected)} classes, "
            f"first {odd[0]}: is it another set?"
        )
    missing = sorted(set(expected) - present)
    found = {} if missing else {name: images_below(root, f"{below}/{name}") for name in expected}
    empty = missing or [name for name in expected if not found[name]]
    if empty:
        raise RequestError(
            f"{here} lacks images of {len(empty)} of its {len(expected)} classes, first "
            f"{empty[0]}: unpack the set again, or read a part of it as imagefolder:{here}"
        )
    return Listing(
        classes=expected,
        labels=[label for label, name in enumerate(expected) for _ in found[name]],
        paths=[path for name in expected for path in found[name]],
    )
