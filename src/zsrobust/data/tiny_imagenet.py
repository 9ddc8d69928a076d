"""TinyImageNet in its published layout, or with ``val`` sorted into class folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import tiny_imagenet_names
from zsrobust.data.readers import FileReader, images_below, subfolders
from zsrobust.utils.errors import RequestError

LAYOUT = "train/<wnid>/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"


def tiny_imagenet(root: Path, split: str) -> ImageSet:
    """TinyImageNet's ``train`` or ``val`` split; labels follow the sorted WordNet ids.

    Read are ``train/<wnid>/images``, and of ``val`` either the published flat ``val/images`` with
    ``val_annotations.txt`` or class folders, ``val/<wnid>`` with or without ``images`` inside.

    Raises:
        RequestError: if the layout is another, a class has no images, or images and annotations
            do not match.
    """
    wnids = _wnids(root)
    if not (root / split).is_dir():
        raise RequestError(f"{root} has no folder {split}: expected {LAYOUT}")
    images = root / "val" / "images"
    flat = split == "val" and images.is_dir() and any(images.glob("*.*"))
    samples = _annotated(root) if flat else _in_folders(root, split, wnids)
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    unknown = sorted({wnid for _, wnid in samples} - set(wnids))
    if unknown:
        raise RequestError(
            f"{root / split} has images of class {unknown[0]}, which is not among the "
            f"{len(wnids)} classes of the set: complete wnids.txt or remove those images"
        )
    sample_ids = tuple(path for path, _ in samples)
    names = tiny_imagenet_names()
    return ImageSet(
        name="tiny-imagenet",
        split=split,
        class_names=tuple(names[wnid] for wnid in wnids),
        sample_ids=sample_ids,
        labels=tuple(label_of[wnid] for _, wnid in samples),
        read_image=FileReader(root, sample_ids),
        root=root,
    )


def _wnids(root: Path) -> list[str]:
    """The sorted WordNet ids, from ``wnids.txt`` or else from the folders of ``train``."""
    listing, train = root / "wnids.txt", root / "train"
    if listing.is_file():
        wnids = sorted(set(listing.read_text("utf-8").split()))
    elif train.is_dir():
        wnids = subfolders(train)
    else:
        raise RequestError(f"{root} has neither wnids.txt nor train: expected {LAYOUT}")
    if not wnids:
        raise RequestError(f"{root} lists no classes in wnids.txt or train: expected {LAYOUT}")
    unknown = sorted(set(wnids) - set(tiny_imagenet_names()))
    if unknown:
        raise RequestError(
            f"{root} lists the class {unknown[0]}, which is not one of TinyImageNet's 200: "
            "read a set of your own as imagefolder:PATH"
        )
    return wnids


def _in_folders(root: Path, split: str, wnids: Sequence[str]) -> list[tuple[str, str]]:
    """(path, WordNet id) of the images in class folders, sorted by class, then path."""
    samples = []
    for wnid in sorted({*wnids, *subfolders(root / split)}):
        paths = images_below(root, f"{split}/{wnid}")
        if not paths and wnid in wnids:
            raise RequestError(f"{root / split / wnid} holds no images: expected {LAYOUT}")
        samples += [(path, wnid) for path in paths]
    return samples


def _annotated(root: Path) -> list[tuple[str, str]]:
    """(path, WordNet id) of the flat ``val`` images, sorted by path."""
    listing = root / "val" / "val_annotations.txt"
    if not listing.is_file():
        raise RequestError(f"{listing} is missing, so val/images has no labels: expected {LAYOUT}")
    wnid_of: dict[str, str] = {}
    for number, line in enumerate(listing.read_text("utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise RequestError(f"{listing} line {number} must be image, tab, WordNet id and box")
        wnid_of[f"val/images/{fields[0]}"] = fields[1]
    paths = images_below(root, "val/images")
    odd = sorted(set(paths) ^ set(wnid_of))
    if odd:
        raise RequestError(
            f"{listing} and val/images differ in {len(odd)} images, first {odd[0]}: "
            "unpack the set again, or remove what is in only one of them"
        )
    return [(path, wnid_of[path]) for path in paths]
