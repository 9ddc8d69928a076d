"""Kinds of data for sets of the user's own that are no class folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from zsrobust.data.image_set import ImageSet
from zsrobust.data.specification import Specification


@dataclass(frozen=True)
class OwnKind:
    """A kind of data that reads its specification itself.

    Attributes:
        open: (specification, role) to the set.
        layout: what stands after the colon.
    """

    open: Callable[[Specification, str], ImageSet]
    layout: str


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
