"""Class names: how they are cleaned, and those of the published sets, which come with the package.

A set's file is ``NAME.txt``: lines of the published spelling (a folder, mostly), tab, class name.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from importlib import resources
from typing import Any

from zsrobust.utils.errors import RequestError

IMAGENET_FAMILY = frozenset({"imagenet", "imagenet-a", "imagenet-r", "imagenet-o"}) | frozenset(
    {"imagenet-sketch", "imagenet-v2"}
)


def clean_name(name: str) -> str:
    """``name`` in lower case, ``_ - /`` as spaces, white space collapsed: PMG-AFT's rule."""
    return " ".join(name.lower().translate(str.maketrans("_-/", "   ")).split())


def spelling(name: str) -> str:
    """What two spellings of one name have in common: it cleaned, accents composed (NFC)."""
    return clean_name(unicodedata.normalize("NFC", name))


def class_names(kind: str, published: Sequence[str]) -> tuple[str, ...]:
    """One name for each of the ``published`` spellings (C, in label order).

    Names are joined by spelling, in lower case and with ``_ - /`` as spaces, and never by position,
    so that they agree with the labels whatever order the set's files have.

    Raises:
        RequestError: if the spellings are not exactly the classes of the set.
    """
    names = names_by_spelling(kind)
    spelled = [clean_name(text) for text in published]
    odd = sorted(set(names) ^ set(spelled))
    if odd or len(spelled) != len(names):
        where = "files lack" if odd and odd[0] in names else "files have"
        raise RequestError(
            f"the classes of {kind} are not the published {len(names)}: its {where} "
            f"{odd[0] if odd else 'a class twice'!r}; unpack the set again, or read a set of "
            "your own as imagefolder:PATH"
        )
    return tuple(names[text] for text in spelled)


@functools.cache
def names_by_spelling(kind: str) -> dict[str, str]:
    """Each class's name by its published spelling, cleaned; in label order where that is fixed."""
    if kind in IMAGENET_FAMILY:
        return {wnid: imagenet_names()[wnid] for wnid in wordnet_ids(kind)}
    return {clean_name(published): name for published, name in _rows(kind.replace("-", "_"))}


@functools.cache
def published_spellings(kind: str) -> tuple[str, ...]:
    """The folders or spellings of a set's classes, in the order of its names file."""
    if kind in IMAGENET_FAMILY:
        return wordnet_ids(kind)
    return tuple(published for published, _ in _rows(kind.replace("-", "_")))


@functools.cache
def wordnet_ids(kind: str) -> tuple[str, ...]:
    """The sorted WordNet ids of a set of ImageNet's family: 1,000, or its part of them."""
    if kind in ("imagenet-a", "imagenet-r", "imagenet-o"):
        return tuple(wnid for wnid, _ in _rows(kind.replace("-", "_")))
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo()
    return tuple(info.label_names())


@functools.cache
def imagenet_names() -> dict[str, str]:
    """The cleaned names of ImageNet's 1,000 classes by WordNet id, all different.

    They are open_clip's (CLIP's own list) but for ``names/imagenet_fixes.txt``.
    """
    import open_clip

    listed = zip(wordnet_ids("imagenet"), open_clip.IMAGENET_CLASSNAMES, strict=True)
    return {wnid: clean_name(name) for wnid, name in [*listed, *_rows("imagenet_fixes")]}


def tiny_imagenet_names() -> dict[str, str]:
    """The cleaned names of TinyImageNet's 200 classes by WordNet id, such as ``n01443537``."""
    return {wnid: clean_name(name) for wnid, name in _rows("tiny_imagenet")}


def _rows(stem: str) -> list[tuple[str, str]]:
    """(spelling, name) of a packaged names file; the name is empty where a line has no tab."""
    text = resources.files(__name__).joinpath(f"{stem}.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [(spelling, name) for spelling, _, name in (line.partition("\t") for line in lines)]
