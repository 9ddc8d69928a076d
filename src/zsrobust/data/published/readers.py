"""Readers of the published sets: which images a split holds, and their labels.

A reader takes the set's own folder and a split, and gives a ``Listing`` in the set's own spelling.
``sets.yaml`` names the reader of a set (``reader:``, by default the set's own name).

torchvision has its lists in private attributes (``_image_files``, ``_labels``, ...); the tests read
every set through these, so that a version which renames one is found out.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from zsrobust.data.names import published_spellings, wordnet_ids
from zsrobust.data.readers import ArrayReader, images_below, subfolders
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


def food101(base: Path, split: str) -> Listing:
    """``food-101``: ``meta/<split>.json`` and ``images``."""
    return _of_files(base, _stored("Food101", base, split=split))


def dtd(base: Path, split: str) -> Listing:
    """``dtd``: ``dtd/labels/<split>1.txt`` and ``dtd/images``; the first partition."""
    return _of_files(base, _stored("DTD", base, split=split, partition=1))


def fgvc_aircraft(base: Path, split: str) -> Listing:
    """``fgvc-aircraft-2013b``: ``data/images_variant_<split>.txt``; labels are variants."""
    return _of_files(base, _stored("FGVCAircraft", base, split=split))


def flowers102(base: Path, split: str) -> Listing:
    """``flowers-102``: ``setid.mat``, ``imagelabels.mat`` (checksums compared) and ``jpg``."""
    stored = _stored("Flowers102", base, split=split)
    return _of_files(base, stored, classes=published_spellings("flowers102"))


def oxford_pets(base: Path, split: str) -> Listing:
    """``oxford-iiit-pet``: ``annotations/<split>.txt`` and ``images``."""
    return _of_files(base, _stored("OxfordIIITPet", base, split=split), paths="_images")


def stanford_cars(base: Path, split: str) -> Listing:
    """``stanford_cars``: the devkit's ``.mat`` files and a folder of images a split."""
    stored = _stored("StanfordCars", base, split=split)
    paths, labels = zip(*stored._samples, strict=True)
    return Listing(stored.classes, [int(label) for label in labels], _below(base, paths))


def sun397(base: Path, split: str) -> Listing:
    """``SUN397``: ``ClassName.txt`` and images in ``<letter>/<class>``; everything.

    torchvision lists images in the order of the disk; here they are sorted.
    """
    stored = _stored("SUN397", base)
    order = sorted(range(len(stored)), key=lambda index: stored._image_files[index].as_posix())
    paths = [stored._image_files[index] for index in order]
    return Listing(stored.classes, [stored._labels[index] for index in order], _below(base, paths))


def stl10(base: Path, split: str) -> Listing:
    """``stl10_binary``: ``<split>_X.bin`` and ``<split>_y.bin`` (checksums compared)."""
    stored = _stored("STL10", base, split=split)
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = stored.data.transpose(0, 2, 3, 1)
    # A stored 0, which no class has, is 255 by now.
    return Listing(stored.classes, stored.labels.tolist(), read_image=ArrayReader(pixels))


def _stored(name: str, base: Path, **options: Any) -> Any:
    from torchvision import datasets

    return getattr(datasets, name)(base.parent, download=False, **options)


def _of_files(
    base: Path, stored: Any, paths: str = "_image_files", classes: Sequence[str] | None = None
) -> Listing:
    listed = _below(base, getattr(stored, paths))
    return Listing(classes or stored.classes, [int(label) for label in stored._labels], listed)


def _below(base: Path, paths: Sequence[str | Path]) -> list[str]:
    return [Path(path).relative_to(base).as_posix() for path in paths]


def imagenet(base: Path, split: str) -> Listing:
    """``<split>/<wnid>/*.JPEG``, as torchvision unpacks it, or a flat ``val`` as in ILSVRC.

    The flat one has ``Annotations/CLS-LOC/val/*.xml`` next to ``Data/CLS-LOC/val``.

    Raises:
        RequestError: if classes, images or annotations are missing or do not match.
    """
    if not (base / split).is_dir():
        raise RequestError(f"{base} has no folder {split}: put ImageNet's {split} images there")
    if split == "val" and not subfolders(base / split):
        return _annotated(base, base.parents[1] / "Annotations" / "CLS-LOC" / split)
    return class_folders(base, split, wordnet_ids("imagenet"))


def _annotated(base: Path, annotations: Path) -> Listing:
    if not annotations.is_dir():
        raise RequestError(
            f"{base / 'val'} is flat and {annotations} is missing, so its images have no labels: "
            "unpack the annotations too, or let torchvision unpack ILSVRC2012_img_val.tar"
        )
    wnids = wordnet_ids("imagenet")
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    paths = images_below(base, "val")
    labels = [_label(annotations / f"{Path(path).stem}.xml", label_of) for path in paths]
    return Listing(wnids, labels, paths)


def _label(file: Path, label_of: dict[str, int]) -> int:
    """The label of the first object that an annotation names."""
    try:
        wnid = ElementTree.parse(file).findtext("object/name")
    except (OSError, ElementTree.ParseError) as reason:
        raise RequestError(f"cannot read the annotation {file}: {reason}") from None
    if wnid not in label_of:
        raise RequestError(f"{file} names {wnid!r}, which is not one of ImageNet's 1,000 classes")
    return label_of[wnid]


def imagenet_v2(base: Path, split: str) -> Listing:
    """``<label>/*.jpeg``, folders 0 to 999: sorted as text they would be out of order."""
    found = class_folders(base, ".", [str(label) for label in range(1000)])
    return Listing(wordnet_ids("imagenet-v2"), found.labels, found.paths)


@dataclass(frozen=True)
class HDF5Reader:
    """Reads images from the array ``x`` (N, 96, 96, 3) of an HDF5 file."""

    path: Path

    def __call__(self, index: int) -> Image.Image:
        """The image in mode RGB."""
        return Image.fromarray(_pixels(self.path, os.getpid())[index])


@functools.lru_cache(maxsize=4)
def _pixels(path: Path, process: int) -> Any:
    """The array, its file open; each process opens its own, for HDF5 cannot be forked."""
    import h5py

    return h5py.File(path)["x"]


def pcam(base: Path, split: str) -> Listing:
    """``pcam``: ``camelyonpatch_level_2_split_<split>_x.h5`` and ``_y.h5``.

    Raises:
        RequestError: if h5py is not installed, or the two files do not have as many samples.
    """
    try:
        import h5py
    except ImportError:
        raise RequestError(
            "pcam is stored as HDF5, which needs the package h5py: pip install 'zsrobust[pcam]'"
        ) from None
    from torchvision import datasets

    stored = datasets.PCAM(base.parent, split=split, download=False)
    images, targets = (base / stored._FILES[split][part][0] for part in ("images", "targets"))
    with h5py.File(targets) as file:
        labels = [int(label) for label in file["y"][:, 0, 0, 0]]
    with h5py.File(images) as file:
        shape = file["x"].shape
    if shape != (len(labels), 96, 96, 3):
        raise RequestError(
            f"{images} holds pixels {shape} for {len(labels)} labels in {targets.name}, where "
            f"({len(labels)}, 96, 96, 3) would be right: fetch both again"
        )
    return Listing(
        ("0", "1"), labels, read_image=HDF5Reader(images), stamp=_file_stamp(images, targets)
    )


def _file_stamp(*files: Path) -> str:
    text = "".join(f"{f.resolve()}\0{f.stat().st_size}\0{f.stat().st_mtime_ns}\0" for f in files)
    return hashlib.blake2b(text.encode(), digest_size=20).hexdigest()


def hateful_memes(base: Path, split: str) -> Listing:
    """``<split>.jsonl`` and ``img``.

    Raises:
        RequestError: naming the line, if one is no object with a path and a label.
    """
    listing = base / f"{split}.jsonl"
    if not listing.is_file():
        raise RequestError(f"{listing} is missing: unpack the set's archive of that split too")
    labels, paths = [], []
    for number, line in enumerate(listing.read_text("utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            labels.append(int(row["label"]))
            paths.append(str(row["img"]))
        except (ValueError, KeyError, TypeError):
            raise RequestError(
                f"{listing} line {number} must be a JSON object with img and label; the set's "
                "first release has no labels for its test split"
            ) from None
    return Listing(("0", "1"), labels, paths)


Reader = Callable[[Path, str], Listing]
"""From the set's own folder and a split to its samples."""

READERS: dict[str, Reader] = {
    "food101": food101,
    "dtd": dtd,
    "fgvc-aircraft": fgvc_aircraft,
    "flowers102": flowers102,
    "oxford-pets": oxford_pets,
    "stanford-cars": stanford_cars,
    "sun397": sun397,
    "stl10": stl10,
    "imagenet": imagenet,
    "imagenet-v2": imagenet_v2,
    "pcam": pcam,
    "hateful-memes": hateful_memes,
}
