"""ImageNet and its relatives: one folder a WordNet id, or ILSVRC's flat folder with annotations."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from zsrobust.data.published.class_names import wordnet_ids
from zsrobust.data.published.listing import Listing, class_folders
from zsrobust.data.readers import images_below, subfolders
from zsrobust.utils.errors import RequestError


def imagenet(base: Path, split: str) -> Listing:
    """``<split>/<wnid>/*.JPEG``, as torchvision unpacks it, or a flat ``val`` as in ILSVRC.

    The flat one has ``Annotations/CLS-LOC/val/*.xml`` beside ``Data/CLS-LOC/val``.

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


def imagenet_v2(base: Path) -> Listing:
    """``<label>/*.jpeg``, folders 0 to 999: sorted as text they would be out of order."""
    found = class_folders(base, ".", [str(label) for label in range(1000)])
    return Listing(wordnet_ids("imagenet-v2"), found.labels, found.paths)
