"""Download a published set, or say in words how to get it."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any
from urllib.error import URLError

from zsrobust.data.published.archive import bring
from zsrobust.data.published.published_set import PublishedSet
from zsrobust.utils.errors import RequestError, RunError

# Archive and unpacked images together, for images hardly shrink.
_ROOM = 2.1
# torchvision raises RuntimeError for a wrong checksum and a missing helper package alike.
_FAILURES = (
    OSError,
    RuntimeError,
    http.client.HTTPException,
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
)


def prepare(known: PublishedSet, root: Path, split: str | None = None) -> Path:
    """Bring a set into ``root/<kind>`` and return its own folder there; shows the progress.

    Args:
        known: the set.
        root: where the sets lie.
        split: which split's files to fetch where each split has its own (PatchCamelyon); the
            evaluation's by default.

    Raises:
        RequestError: if the set cannot be downloaded: with the steps that lead to it; or if the
            disk has no room, or there is no such split.
        RunError: if the download fails or what it brings is not the set.
    """
    if split not in (None, *known.counts):
        raise RequestError(f"{known.kind} has no split {split!r}: it has {', '.join(known.counts)}")
    target = root / known.kind
    if known.steps and not _archives_are_there(known, target):
        needs = "needs an account" if known.account else "cannot be downloaded any more"
        raise RequestError(f"{known.kind} {needs}; the folder is {target}: {known.steps}")
    try:
        target.mkdir(parents=True, exist_ok=True)
        _refuse_without_room(known, target)
        _fetch(known, target, split or known.test)
    except URLError as reason:
        raise RunError(
            f"cannot download {known.kind} ({reason.reason}): is this machine online? The set is "
            f"published at {known.source}"
        ) from reason
    except _FAILURES as reason:
        why = " ".join(str(reason).split()) or type(reason).__name__
        raise RunError(
            f"cannot bring {known.kind} into {target} ({why}): it is published at {known.source}"
        ) from reason
    finally:
        # A download that never began leaves no empty folder behind.
        with contextlib.suppress(OSError):
            target.rmdir()
    folder = known.locate(target)
    if folder is None:
        raise RunError(
            f"{target} still lacks {known.layout}: delete the folder and prepare the set again"
        )
    return folder


def _archives_are_there(known: PublishedSet, target: Path) -> bool:
    """ImageNet's archives are unpacked once a person has put them in place."""
    needed = ("ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz")
    return known.kind == "imagenet" and all((target / name).is_file() for name in needed)


def _refuse_without_room(known: PublishedSet, target: Path) -> None:
    needed, free = _ROOM * (known.gigabytes or 0), shutil.disk_usage(target).free / 1e9
    if needed > free:
        raise RequestError(
            f"{known.kind} needs about {needed:.1f} GB below {target}, which has {free:.1f} GB "
            "free: choose another --root"
        )


def _fetch(known: PublishedSet, target: Path, split: str) -> None:
    from torchvision import datasets

    if known.url:
        archive = target / known.url.rsplit("/", 1)[1]
        bring(known.url, archive, known.checksums.get(archive.name))
    elif known.kind == "imagenet":
        datasets.ImageNet(target, split="val")
        if (target / "ILSVRC2012_img_train.tar").is_file():
            datasets.ImageNet(target, split="train")
    else:
        options: dict[str, Any] = {"split": split} if known.kind == "pcam" else {}
        getattr(datasets, known.torchvision)(target, download=True, **options)
