"""From a data specification to an open set: the one list of kinds of data."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from zsrobust.data import cifar, digits, image_folder, tiny_imagenet
from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.opening import open_published
from zsrobust.data.published.prompts import PROMPTS, with_prompts
from zsrobust.data.published.sets import published_sets, synthetic
from zsrobust.data.specification import Specification, exists, parse_specification
from zsrobust.data.split import keep_classes
from zsrobust.data.suites import SUITES
from zsrobust.data.unknown_kind import unknown_kind
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import near_folder

Role = Literal["train", "test"]


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        open: (folder, split, class-name file or None) to the set.
        splits: the default split for each role.
        layout: what PATH must hold; empty if the kind takes no path.
        members: whether the name of one of its sets is written where others have a path.
        takes_names: whether a class-name file may be given.
        more_splits: further splits that may be asked for.
    """

    open: Callable[[Path, str, Path | None], ImageSet]
    splits: dict[Role, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    layout: str = ""
    members: bool = False
    takes_names: bool = False
    more_splits: tuple[str, ...] = ()


@dataclass(frozen=True)
class OwnKind:
    """A kind of data for sets of the user's own; it reads its specification itself.

    Attributes:
        open: (specification, role) to the set.
        layout: what is written after the colon.
    """

    open: Callable[[Specification, str], ImageSet]
    layout: str


def _glyph_set(name: Path, split: str, names: Path | None) -> ImageSet:
    # It draws with torch, which --help does not wait for.
    from zsrobust.data.glyphs.sets import glyph_set

    return glyph_set(str(name), split)


def _csv(asked: Specification, role: str) -> ImageSet:
    from zsrobust.data.csv_set import csv_set

    return csv_set(asked, role)


def _huggingface(asked: Specification, role: str) -> ImageSet:
    from zsrobust.data.huggingface import huggingface

    return huggingface(asked, role)


def _webdataset(asked: Specification, role: str) -> ImageSet:
    from zsrobust.data.shards.webdataset import webdataset

    return webdataset(asked, role)


OWN: dict[str, OwnKind] = {
    "csv": OwnKind(
        _csv, "FILE.csv, with the header path,label or path,label,split and paths relative to it"
    ),
    "huggingface": OwnKind(_huggingface, "a folder that save_to_disk of datasets wrote"),
    "webdataset": OwnKind(
        _webdataset,
        "a folder or URL with an index.json of zsrobust data shard, or a pattern of tar files such "
        "as shards/train-{000..009}.tar",
    ),
}


def _tiny_imagenet_in(path: Path) -> Path:
    return published_sets()["tiny-imagenet"].locate(path) or path


@functools.cache
def kinds() -> dict[str, Kind]:
    """Every kind of data but those of ``OWN``, by its word after ``--data``."""
    return {
        "tiny-imagenet": Kind(
            lambda path, split, _: tiny_imagenet.tiny_imagenet(_tiny_imagenet_in(path), split),
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
            lambda path, split, _: cifar.cifar(10, path, split), layout=cifar.LAYOUTS[10]
        ),
        "cifar100": Kind(
            lambda path, split, _: cifar.cifar(100, path, split), layout=cifar.LAYOUTS[100]
        ),
        "glyph": Kind(_glyph_set, members=True),
        "digits": Kind(lambda _, split, __: digits.digits(split)),
        "mnist-5k": Kind(lambda _, split, __: digits.mnist_5k(split)),
    } | {kind: _published(kind) for kind in published_sets() if kind not in _OWN_READERS}


_OWN_READERS = ("tiny-imagenet", "cifar10", "cifar100")
"""Published sets that are read in the functions above."""


def _published(kind: str) -> Kind:
    known = published_sets()[kind]
    return Kind(
        lambda path, split, _: open_published(kind, path, split),
        {"train": known.train, "test": known.test},
        known.layout,
        more_splits=tuple(known.counts),
    )


def open_set(spec: str, role: Role) -> ImageSet:
    """The set of a specification ``KIND[:PATH][,key=value...]``, without decoding images.

    Keys: ``split``, by default the one that ``role`` asks for; ``classes``, how many classes to
    keep, see :func:`zsrobust.data.split.keep_classes`; ``names``, a class-name file
    (imagefolder and sets of your own); ``name``, the set's name in results; ``resolution``, the
    attack resolution in pixels; ``templates``, a file of prompts; ``prompts``, a preset of names
    and templates (published sets only); ``image`` and ``label``, where huggingface and webdataset
    keep them.

    Python's warnings say what ``ImageSet.notes`` holds, such as files that were left out.

    Raises:
        RequestError: if a part of the specification is wrong, or the data is not there, not in the
            layout of its kind, or of one class alone.
    """
    images = opening(spec, role)()
    for note in images.notes:
        warnings.warn(note, stacklevel=2)
    return images


def opening(spec: str, role: Role) -> Callable[[], ImageSet]:
    """What opens the set of a specification that is valid and whose folder exists.

    Of the set's notes it says nothing.

    Raises:
        RequestError: if a part of the specification is wrong, or it names no folder or file.
    """
    parsed = parse_specification(spec)
    _refuse_misplaced(parsed)
    if parsed.kind in OWN:
        own = _own(parsed)
        return lambda: _with_options(own.open(parsed, role), parsed)
    kind = _kind(parsed)
    split = parsed.split or kind.splits[role]
    splits = tuple(dict.fromkeys((*kind.splits.values(), *kind.more_splits)))
    if split not in splits:
        raise RequestError(
            f"data {spec!r} has no split {split!r}: {parsed.kind} has {' and '.join(splits)}"
        )
    if parsed.names and not kind.takes_names:
        raise RequestError(
            f"data {spec!r} gives names, but {parsed.kind} has its own class names: "
            f"names is for imagefolder, {', '.join(OWN)}"
        )
    folder = _folder(parsed, kind)

    def open_it() -> ImageSet:
        opened = kind.open(folder, split, parsed.names)
        if parsed.kind in published_sets():
            opened = with_prompts(opened, parsed.kind, parsed.prompts or "paper")
            opened = replace(opened, notes=(*opened.notes, *synthetic(parsed.kind, folder)))
        return _with_options(opened, parsed)

    return open_it


def _own(parsed: Specification) -> OwnKind:
    own = OWN[parsed.kind]
    if not parsed.place:
        raise RequestError(
            f"data {parsed.text!r} lacks its path: write {parsed.kind}:PATH, where PATH is "
            f"{own.layout}"
        )
    # A pattern, a URL or a shard of an index is looked up where it is read.
    path = None if re.search(r"://|[{*?\[]|\.tar$", parsed.place) else parsed.path
    if path is not None and not exists(path):
        raise RequestError(
            f"data {parsed.text!r} names no file or folder ({path}): PATH must be {own.layout}"
        )
    return own


def _with_options(opened: ImageSet, parsed: Specification) -> ImageSet:
    if len(opened.class_names) < 2:
        raise RequestError(
            f"data {parsed.text!r} has one class alone ({opened.class_names[0]}): there must be "
            "another to tell it from"
        )
    if parsed.classes is not None:
        opened = keep_classes(opened, parsed.classes)
    return replace(
        opened,
        name=parsed.name or opened.name,
        origin=opened.origin or parsed.kind,
        resolution=parsed.resolution,
        templates=parsed.templates or opened.templates,
    )


def _kind(parsed: Specification) -> Kind:
    if parsed.kind not in kinds():
        raise unknown_kind(parsed, [*kinds(), *OWN, *SUITES])
    return kinds()[parsed.kind]


def _refuse_misplaced(parsed: Specification) -> None:
    """Keys that only some kinds have a meaning for."""
    for key in ("image", "label"):
        if getattr(parsed, key) and parsed.kind not in ("huggingface", "webdataset"):
            raise RequestError(
                f"data {parsed.text!r} gives {key}, which is for huggingface and webdataset"
            )
    if parsed.prompts and parsed.kind not in published_sets():
        raise RequestError(
            f"data {parsed.text!r} gives prompts, but {parsed.kind} is no published set: "
            "write templates=FILE, or names=FILE for an imagefolder"
        )
    if parsed.prompts and parsed.prompts not in PROMPTS:
        raise RequestError(
            f"data {parsed.text!r} has the unknown prompts {parsed.prompts!r}: "
            f"the presets are {', '.join(PROMPTS)}"
        )


def _folder(parsed: Specification, kind: Kind) -> Path:
    if kind.members:
        if not parsed.path:
            raise RequestError(
                f"data {parsed.text!r} names none of the sets of {parsed.kind}: "
                f"write {parsed.kind}:SET, such as glyph:training"
            )
        return parsed.path
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
            f"{near_folder(parsed.path)}"
        )
    return parsed.path
