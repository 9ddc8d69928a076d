"""From a kind and a path to an ``ImageSet`` of a published set."""

from __future__ import annotations

from pathlib import Path

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import class_names, published_spellings
from zsrobust.data.published.readers import READERS, Listing, class_folders
from zsrobust.data.published.sets import PublishedSet, published_sets
from zsrobust.data.readers import FileReader
from zsrobust.data.split import hold_out
from zsrobust.utils.errors import RequestError


def open_published(kind: str, path: Path, split: str) -> ImageSet:
    """A published set, without decoding images. Nothing is downloaded.

    ``path`` holds the set's own folder, or is it. The splits ``train`` and ``test`` of a set that
    has none are fixed: ``hold_out`` of a fifth with seed 0, in proportion by class, ids being paths
    below the set's own folder.

    Raises:
        RequestError: if the set is not there, not whole, or not the published one.
    """
    known = published_sets()[kind]
    base = known.locate(path)
    if base is None:
        raise RequestError(f"{kind} is not in {path}: PATH must hold {known.layout}")
    base = base.absolute()
    listing = _read(known, base, split)
    names = class_names(kind, listing.classes)
    _check_labels(known, base, listing)
    opened = ImageSet(
        name=kind,
        split=split,
        class_names=names,
        sample_ids=listing.paths or tuple(map(str, range(len(listing.labels)))),
        labels=tuple(listing.labels),
        read_image=listing.read_image or FileReader(base, listing.paths),
        native_size=known.native,
        root=base if listing.paths else None,
        stamp=listing.stamp,
    )
    if not known.own_split or split == "all":
        return opened
    train, test = hold_out(opened, 0.2, seed=0)
    return train if split == "train" else test


def _read(known: PublishedSet, base: Path, split: str) -> Listing:
    try:
        # Class folders are read here and not through torchvision, which takes Caltech's files to be
        # numbered from 1 without a gap, makes folders when it finds none, and names no empty class.
        if known.reader == "class_folders":
            listing = class_folders(base, ".", published_spellings(known.kind))
        elif known.reader == "split_folders":
            listing = class_folders(base, split, published_spellings(known.kind))
        else:
            listing = READERS[known.reader](base, split)
    except RequestError:
        raise
    # torchvision, SciPy and h5py each raise their own on files that are cut off or not theirs.
    except Exception as reason:
        why = " ".join(str(reason).split()) or type(reason).__name__
        raise RequestError(
            f"{known.kind}/{split} in {base} cannot be read ({why}): PATH must hold {known.layout}"
        ) from reason
    if not len(listing.labels):
        raise RequestError(f"{known.kind}/{split} in {base} lists no images: unpack the set again")
    return listing


def _check_labels(known: PublishedSet, base: Path, listing: Listing) -> None:
    for index, label in enumerate(listing.labels):
        if not 0 <= label < known.classes:
            sample = listing.paths[index] if listing.paths else index
            raise RequestError(
                f"{known.kind} in {base} gives sample {sample} the label {label}, where 0 to "
                f"{known.classes - 1} are its classes: fetch the set again"
            )
