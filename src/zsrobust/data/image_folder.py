"""A folder of class folders, as torchvision's ImageFolder reads it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import clean_name, spelling
from zsrobust.data.names.codes import code_notes
from zsrobust.data.names.name_file import read_names
from zsrobust.data.readers import (
    IMAGE_SUFFIXES,
    FileReader,
    Found,
    found_below,
    sort_files,
    subfolders,
)
from zsrobust.utils.errors import RequestError

LAYOUT = "one folder of images a class, PATH/<class>/**/*.jpg"

# Names of splits and of collections consist of these and of digits: "train2017",
# "test_set", "seg_pred".
_GENERIC = frozenset(
    {
        *("train", "training", "val", "valid", "validation", "dev", "test", "testing"),
        *("eval", "evaluation", "pred", "holdout", "set", "split", "seg"),
        *("data", "dataset", "image", "images", "img", "imgs"),
    }
)

_MOST_KINDS = 5


def image_folder(root: Path, names: Path | None = None) -> ImageSet:
    """The images below ``root``, one class a folder, classes in sorted order; split ``all``.

    Class names are the cleaned folder names, or come from the class-name file ``names``, joined
    to folders as ``read_names`` does. The set is named after its folder; a folder with a name that
    says little, such as ``test``, adds its parent's: ``cifar10/test`` is ``cifar10-test``. Notes
    count the files that are left out.

    Raises:
        RequestError: if there are no class folders or no images, a class folder is empty, there is
            one class alone, the folders look like splits and not classes, two classes have one
            name, or all names are codes (``code_notes``).
    """
    folders = subfolders(root)
    entries = [entry for entry in root.iterdir() if entry.name[0] != "."]
    lost = sorted(entry.name for entry in entries if not entry.exists())
    if lost:
        raise RequestError(
            f"{len(lost)} links in {root} lead nowhere ({_some(lost)}): fix or remove them"
        )
    loose = sort_files(entry.name for entry in entries if entry.is_file())
    if not folders:
        raise RequestError(_without_folders(root, loose))
    found = {folder: found_below(root, folder) for folder in folders}
    others = sum((found[folder].others for folder in folders), Counter[str]())
    filled = {folder: found[folder].images for folder in folders if found[folder].images}
    if not filled:
        suffixes = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        there = f", and found {_count_by_suffix(others)}" if others else ""
        raise RequestError(
            f"{root} holds no image in any class folder: expected files {suffixes}{there}"
        )
    empty = [folder for folder in folders if folder not in filled]
    _refuse_too_high(root, filled, empty)
    if empty:
        unread = sum((found[folder].others for folder in empty), Counter[str]())
        there = f", but files that are not read ({_count_by_suffix(unread)})" if unread else ""
        raise RequestError(
            f"{len(empty)} class folders of {root} hold no images ({_some(empty)}){there}: "
            f"{'convert those to JPEG or PNG, or ' if unread else ''}fill or remove the folders"
        )
    notes: list[str] = []
    class_names = read_names(names, folders, notes.append) if names else _cleaned(root, folders)
    notes += code_notes(class_names, str(names or root), chosen=names is not None)
    samples = [(path, label) for label, folder in enumerate(folders) for path in filled[folder]]
    sample_ids = tuple(path for path, _ in samples)
    name = _result_name(root)
    return ImageSet(
        name=name,
        split="all",
        class_names=class_names,
        sample_ids=sample_ids,
        labels=tuple(label for _, label in samples),
        read_image=FileReader(root, sample_ids),
        root=root,
        origin=str(_place(root)),
        notes=(*notes, *_folder_notes(name, root, filled, others, len(loose.images))),
    )


def _without_folders(root: Path, loose: Found) -> str:
    if not loose.images:
        return f"{root} holds no class folders: expected {LAYOUT}"
    return (
        f"{root} holds no class folders, only images: expected {LAYOUT}; if it is itself the "
        f"folder of one class, give the folder above, {root.absolute().parent}"
    )


def _cleaned(root: Path, folders: list[str]) -> tuple[str, ...]:
    folder_of: dict[str, str] = {}
    for folder in folders:
        name = clean_name(folder)
        if not name:
            raise RequestError(
                f"the folder {folder!r} of {root} gives no class name: give a names=FILE"
            )
        earlier = folder_of.setdefault(spelling(folder), folder)
        if earlier != folder:
            raise RequestError(
                f"the folders {earlier!r} and {folder!r} of {root} both give the class name "
                f"{name!r}: tell them apart with a class-name file, names=FILE"
            )
    return tuple(map(clean_name, folders))


def _result_name(root: Path) -> str:
    root = root.resolve() if ".." in root.parts else root.absolute()
    parent = root.parent.name
    return f"{parent}-{root.name}" if _is_generic(root.name) and parent else root.name


def _place(root: Path) -> Path:
    """Where the set lies; the splits ``birds/train`` and ``birds/val`` are of one place."""
    root = root.resolve()
    return root.parent if _is_generic(root.name) else root


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _is_generic(name: str) -> bool:
    """Whether a folder's name is that of a split or of any images, and so of no class."""
    parts = re.findall(r"[^\W\d_]+", name.lower())
    return bool(parts) and _GENERIC.issuperset(parts)


def _refuse_too_high(root: Path, filled: Mapping[str, Sequence[str]], empty: Sequence[str]) -> None:
    """Refuse a folder whose folders are no classes, naming the one that was probably meant.

    Args:
        root: the folder.
        filled: the images below it by folder, as paths below ``root`` in posix form.
        empty: folders of it without an image.

    Raises:
        RequestError: if there is one class alone, each folder is named like a split, or one that is
            named so holds class folders.
    """
    splits = [name for name in filled if _is_generic(name)]
    if len(splits) < len(filled):
        # A class may well be called "train", but none that holds classes "images" or "test".
        splits = [name for name in splits if name.lower() != "train" and _meant(filled[name])]
    meant = _meant([path for name in splits or filled for path in filled[name]])
    if not splits and (len(filled) > 1 or (empty and not meant)):
        return
    what = (
        f"the folders of {root} ({', '.join(filled)}) are no classes"
        if splits
        else f"{root} holds one class alone ({next(iter(filled))})"
    )
    if meant:
        advice = (
            f"the class folders are probably those of {root / meant}, so give that folder instead"
        )
    else:
        advice = "give the folder that holds one folder of images for each of two or more classes"
    raise RequestError(f"{what}: {advice}")


def _meant(paths: Iterable[str]) -> str:
    """The folder, in posix form, that holds the class folders of these images; empty if none does.

    It is the first one from above with two folders in it that are not named like splits.
    """
    return _holder([path.split("/") for path in paths], "")


def _holder(paths: Sequence[Sequence[str]], above: str) -> str:
    below: dict[str, list[Sequence[str]]] = {}
    for first, *rest in paths:
        if rest:
            below.setdefault(first, []).append(rest)
    if len(below) > 1 and not all(map(_is_generic, below)):
        return above
    found = (_holder(rest, f"{above}/{name}".lstrip("/")) for name, rest in sorted(below.items()))
    return next(filter(None, found), "")


def _folder_notes(
    name: str,
    root: Path,
    filled: Mapping[str, Sequence[str]],
    others: Mapping[str, int],
    loose: int,
) -> Iterator[str]:
    """How a folder of class folders was read, in sentences: only what its owner may not expect.

    Args:
        name: of the set.
        root: the folder.
        filled: the images by class folder, as paths below ``root`` in posix form.
        others: numbers of the other files in class folders by suffix.
        loose: number of images next to the class folders.
    """
    if others:
        yield (
            f"{name}: {sum(others.values())} files in class folders are not read as images "
            f"({_count_by_suffix(others)})"
        )
    if loose:
        yield f"{name}: {loose} images next to the class folders are of no class and are left out"
    below = {folder: _folders_below(paths) for folder, paths in filled.items()}
    splits = [folder for folder in below if _is_generic(folder) and len(below[folder]) > 1]
    if splits:
        yield (
            f"{name}: the folders in {root / splits[0]} are read as one class, {splits[0]}: give "
            "that folder if they are the classes"
        )
    elif _are_classes(below):
        folder, inner = max(below.items(), key=lambda item: len(item[1]))
        yield (
            f"{name}: the class folders hold folders that look like classes themselves and are "
            f"read as one ({folder} has {_some(sorted(inner), 3)}): if those are the classes, give "
            "a folder that holds them alone, or list the images with csv:FILE.csv"
        )


def _folders_below(paths: Sequence[str]) -> frozenset[str]:
    """The folders that a class folder's images lie in; none if some lie in itself."""
    parts = [path.split("/") for path in paths]
    is_flat = any(len(part) == 2 for part in parts)
    return frozenset() if is_flat else frozenset(part[1] for part in parts)


def _are_classes(below: Mapping[str, frozenset[str]]) -> bool:
    """Whether the folders below all class folders have names as only classes have.

    They are other ones in each, as where ``animals`` has ``cat`` and ``vehicles`` has ``car``, or
    the same in each, as where ``photo`` and ``sketch`` both have ``cat`` and ``dog``. Parts of one
    class, such as videos, are numbered.
    """
    inner = [folder for folders in below.values() for folder in folders]
    are_other = len(set(inner)) == len(inner) > len(below)
    are_same = len(set(inner)) > 1 and len(set(below.values())) == 1
    are_named = not any(_is_generic(folder) or re.search(r"\d", folder) for folder in inner)
    return all(below.values()) and are_named and (are_other or are_same)


def _count_by_suffix(others: Mapping[str, int]) -> str:
    """Numbers of files by suffix, the most first."""
    ordered = Counter(others).most_common()
    counts = [f"{suffix or 'without suffix'} {count}" for suffix, count in ordered[:_MOST_KINDS]]
    rest = sum(count for _, count in ordered[_MOST_KINDS:])
    return ", ".join(counts + ([f"others {rest}"] if rest else []))
