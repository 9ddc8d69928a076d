"""Download a published set and unpack it, or say how to get it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import math
import shutil
import tarfile
import urllib.request
import zipfile
import zlib
from pathlib import Path
from typing import Any
from urllib.error import URLError

from zsrobust.data.published.sets import PublishedSet
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import atomic_file, require_room
from zsrobust.utils.progress import Steps

# Archive and unpacked images together, for images hardly shrink.
_ROOM = 2.1
# torchvision raises RuntimeError for a wrong checksum as for a missing helper package.
_FAILURES = (
    OSError,
    RuntimeError,
    http.client.HTTPException,
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
)
_BLOCK = 10**6
_PATIENCE_S = 60.0
# What the readers of zip, tar and their compressions raise for a file that is not whole; zipfile
# raises RuntimeError for a bit that says encrypted, or a compression it does not know.
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    RuntimeError,
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
        require_room(target, 1e9 * _ROOM * (known.gigabytes or 0), known.kind, "root")
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


def _fetch(known: PublishedSet, target: Path, split: str) -> None:
    from torchvision import datasets

    if known.url:
        archive = target / known.url.rsplit("/", 1)[1]
        fetch_archive(known.url, archive, known.checksums.get(archive.name))
    elif known.kind == "imagenet":
        datasets.ImageNet(target, split="val")
        if (target / "ILSVRC2012_img_train.tar").is_file():
            datasets.ImageNet(target, split="train")
    else:
        options: dict[str, Any] = {"split": split} if known.kind == "pcam" else {}
        getattr(datasets, known.torchvision)(target, download=True, **options)


def fetch_archive(url: str, archive: Path, md5: str | None) -> None:
    """Download ``url`` to ``archive``, unless it is there, and unpack it next to it.

    Args:
        url: of a zip file or of a tar file, compressed or not.
        archive: where it lies; it gets this name once it is whole.
        md5: what it must have, in hex; an archive with another is downloaded anew.

    Raises:
        RequestError: if this Python cannot unpack a tar file safely.
        RunError: if the archive breaks off or is damaged; one that does not open is removed.
        OSError: if the address cannot be read or the disk not be written.
        http.client.HTTPException: if the answer is not HTTP's.
    """
    from torchvision.datasets.utils import check_integrity

    if archive.suffix != ".zip" and not hasattr(tarfile, "data_filter"):
        raise RequestError(
            f"this Python cannot unpack {archive.name} safely: use 3.10.12, 3.11.4 or newer"
        )
    if not check_integrity(archive, md5):
        with atomic_file(archive) as temporary:
            _download(url, temporary)
            if not check_integrity(temporary, md5):
                raise RunError(f"{url} brings a corrupted archive: its MD5 is not {md5}")
    _unpack(archive)


def _download(url: str, path: Path) -> None:
    asked = urllib.request.Request(url, headers={"User-Agent": "zsrobust"})
    with urllib.request.urlopen(asked, timeout=_PATIENCE_S) as answer, path.open("wb") as file:
        blocks = math.ceil((answer.length or 0) / _BLOCK)
        # An answer may not say how long it is; then there is nothing to show.
        with Steps(f"MB of {url.rsplit('/', 1)[1]}", blocks, quiet=not blocks) as steps:
            while block := answer.read(_BLOCK):
                file.write(block)
                steps.advance()
        # A connection that breaks reads like the end of the file; what was promised says more.
        if answer.length:
            raise RunError(f"{url} broke off {answer.length} bytes before its end: try again")


class _Room:
    """What the disk has for the members of an archive: a small one may hold more than any disk."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.free = shutil.disk_usage(archive.parent).free
        self.taken = 0

    def take(self, size: int) -> None:
        """Count a member, before it is written.

        Raises:
            RunError: if it does not fit on the disk with those before it.
        """
        self.taken += size
        if self.taken > self.free:
            raise RunError(
                f"{self.archive} holds {self.taken:,} bytes or more, and {self.free:,} are free in "
                f"{self.archive.parent}: make room, or do not trust it"
            )

    def data_filter(self, member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        """The filter ``data``, which keeps members inside, with the count."""
        self.take(member.size)
        return tarfile.data_filter(member, path)


def _unpack(archive: Path) -> None:
    """Unpack into the archive's own folder; no member can lead outside of it."""
    room = _Room(archive)
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as members:
                for entry in members.infolist():
                    room.take(entry.file_size)
                members.extractall(archive.parent)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(archive.parent, filter=room.data_filter)
    except _DAMAGED as reason:
        archive.unlink()
        # tarfile lists on further lines what it tried.
        why = str(reason).partition("\n")[0].rstrip(":")
        raise RunError(
            f"{archive} cannot be unpacked ({why}) and was removed: prepare the set again"
        ) from reason
