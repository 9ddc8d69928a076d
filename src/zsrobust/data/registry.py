"""From a data specification to an open set: the one list of kinds of data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zsrobust.data import cifar, digits, image_folder, tiny_imagenet
from zsrobust.data.image_set import ImageSet
from zsrobust.data.specification import Specification, parse_specification
from zsrobust.errors import RequestError

Role = Literal["train", "test"]


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        open: (folder, split, class-name file or None) to the set.
        splits: the default split for each role; no others exist.
        layout: what PATH must hold; empty if the kind takes no path.
        members: whether the name of one of its sets stands where others have a path.
        takes_names: whether a class-name file may be given.
    """

    open: Callable[[Path, str, Path | None], ImageSet]
    splits: dict[Role, str]
    layout: str = ""
    members: bool = False
    takes_names: bool = False


KINDS: dict[str, Kind] = {
    "tiny-imagenet": Kind(
        lambda path, split, _: tiny_imagenet.tiny_imagenet(path, split),
        {"train": "train", "test": "val"},
        tiny_imagenet.LAYOUT,
    ),
    "imagefolder": Kind(
        lambda path, _, names: image_folder.image_folder(path, names),
        {"train": "all", "test": "all"},
        image_folder.LAYOUT,
        takes_names=True,
    ),
    "cifar10": Kind(
        lambda path, split, _: cifar.cifar(10, path, split),
        {"train": "train", "test": "test"},
        cifar.LAYOUTS[10],
    ),
    "cifar100": Kind(
        lambda path, split, _: cifar.cifar(100, path, split),
        {"train": "train", "test": "test"},
        cifar.LAYOUTS[100],
    ),
    "glyphs": Kind(
        lambda name, split, _: _glyph_set(str(name), split),
        {"train": "train", "test": "test"},
        members=True,
    ),
    "digits": Kind(lambda _, split, __: digits.digits(split), {"train": "train", "test": "test"}),
}


def _glyph_set(name: str, split: str) -> ImageSet:
    # It draws with torch, which a look at the help does not wait for.
    from zsrobust.data.glyphs.sets import glyph_set

    return glyph_set(name, split)


def open_set(spec: str, role: Role) -> ImageSet:
    """The set of a specification ``KIND[:PATH][,key=value...]``, without decoding images.

    Keys: ``split``, by default the one that ``role`` asks for; ``names``, a class-name file
    (imagefolder only); ``name``, the set's name in results; ``resolution``, the attack resolution
    in pixels; ``templates``, a file of prompts.

    Raises:
        RequestError: if a part of the specification is wrong, or the data is not there or not in
            the layout of its kind.
    """
    parsed = parse_specification(spec)
    kind = _kind(parsed)
    split = parsed.split or kind.splits[role]
    if split not in kind.splits.values():
        raise RequestError(
            f"data {spec!r} has no split {split!r}: {parsed.kind} has "
            f"{' and '.join(dict.fromkeys(kind.splits.values()))}"
        )
    if parsed.names and not kind.takes_names:
        raise RequestError(
            f"data {spec!r} gives names, but {parsed.kind} has its own class names: "
            "names is for imagefolder"
        )
    opened = kind.open(_folder(parsed, kind), split, parsed.names)
    return replace(
        opened,
        name=parsed.name or opened.name,
        origin=opened.origin or parsed.kind,
        resolution=parsed.resolution,
        templates=parsed.templates or opened.templates,
    )


def _kind(parsed: Specification) -> Kind:
    if parsed.kind not in KINDS:
        raise RequestError(
            f"data {parsed.text!r} has the unknown kind {parsed.kind!r}: "
            f"the kinds are {', '.join(KINDS)}"
        )
    return KINDS[parsed.kind]


def _folder(parsed: Specification, kind: Kind) -> Path:
    if kind.members:
        return parsed.path or Path()
    if not kind.layout:
        if parsed.path:
            raise RequestError(
                f"data {parsed.text!r} gives a path, but {parsed.kind} comes with an installed "
                f"package: write {parsed.kind}"
            )
        return Path()
    if not parsed.path:
        raise RequestError(
            f"data {parsed.text!r} lacks its path: write {parsed.kind}:PATH, "
            f"where PATH holds {kind.layout}"
        )
    if not parsed.path.is_dir():
        raise RequestError(
            f"data {parsed.text!r} names no folder ({parsed.path}): PATH must hold {kind.layout}"
        )
    return parsed.path
