"""Whether folders of images are class folders, and what in them is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from zsrobust.utils.errors import RequestError

# Of such words, and of digits, names of splits and of collections are made: "train2017",
# "test_set", "seg_pred".
_GENERIC = frozenset(
    {
        *("train", "training", "val", "valid", "validation", "dev", "test", "testing"),
        *("eval", "evaluation", "pred", "holdout", "set", "split", "seg"),
        *("data", "dataset", "image", "images", "img", "imgs"),
    }
)

_MOST_KINDS = 5


def is_generic(name: str) -> bool:
    """Whether a folder's name is that of a split or of any images, and so of no class."""
    words = re.findall(r"[^\W\d_]+", name.lower())
    return bool(words) and _GENERIC.issuperset(words)


def refuse_too_high(root: Path, filled: Mapping[str, Sequence[str]], empty: Sequence[str]) -> None:
    """Refuse a folder whose folders are no classes, naming the one that was probably meant.

    Args:
        root: the folder.
        filled: the images below it by folder, as paths below ``root`` in posix form.
        empty: folders of it without an image.

    Raises:
        RequestError: if there is one class alone, each folder is named like a split, or one that is
            named so holds class folders.
    """
    splits = [name for name in filled if is_generic(name)]
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
    if len(below) > 1 and not all(map(is_generic, below)):
        return above
    found = (_holder(rest, f"{above}/{name}".lstrip("/")) for name, rest in sorted(below.items()))
    return next(filter(None, found), "")


def folder_notes(
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
        loose: number of images beside the class folders.
    """
    if others:
        yield (
            f"{name}: {sum(others.values())} files in class folders are not read as images "
            f"({count_by_suffix(others)})"
        )
    if loose:
        yield f"{name}: {loose} images beside the class folders are of no class and are left out"
    below = {folder: _folders_below(paths) for folder, paths in filled.items()}
    splits = [folder for folder in below if is_generic(folder) and len(below[folder]) > 1]
    if splits:
        yield (
            f"{name}: the folders in {root / splits[0]} are read as one class, {splits[0]}: give "
            "that folder if they are the classes"
        )
    elif _are_classes(below):
        folder, inner = max(below.items(), key=lambda item: len(item[1]))
        yield (
            f"{name}: the class folders hold folders that look like classes themselves and are "
            f"read as one ({folder} has {_some(sorted(inner))}): if those are the classes, give a "
            "folder that holds them alone, or list the images with csv:FILE.csv"
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
    are_named = not any(is_generic(folder) or re.search(r"\d", folder) for folder in inner)
    return all(below.values()) and are_named and (are_other or are_same)


def count_by_suffix(others: Mapping[str, int]) -> str:
    """Numbers of files by suffix, the most first."""
    ordered = Counter(others).most_common()
    said = [f"{suffix or 'without suffix'} {count}" for suffix, count in ordered[:_MOST_KINDS]]
    rest = sum(count for _, count in ordered[_MOST_KINDS:])
    return ", ".join(said + ([f"others {rest}"] if rest else []))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
