"""The members of a tar file, found by its headers; nothing is ever unpacked."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from zsrobust.utils.errors import RequestError

_FILE_KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE)

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file in a tar file: its name, and where its bytes begin and how many they are."""

    name: str
    offset: int
    size: int


def tar_members(file: BinaryIO, shard: str | Path) -> Iterator[Member]:
    """The plain files of an uncompressed tar file open at its start, in its order.

    Folders and hidden files are left out. The place in ``file`` may be changed between members.

    Raises:
        RequestError: if it is no tar file, cut short, damaged or several joined, or holds a link,
            a device or a name that leads outside of where it would be unpacked.
    """
    total = file.seek(0, os.SEEK_END)
    file.seek(0)
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    raise RequestError(
                        f"{shard} holds {member.name!r}, a name that leads outside of it: data "
                        "sets have no such members; do not trust this file"
                    )
                size = 0 if member.isdir() else member.size
                end = member.offset_data + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if member.offset_data + size > total:
                    raise _cut_short(shard, total)
                if member.isdir():
                    continue
                if member.type not in _FILE_KINDS or member.issparse():
                    raise RequestError(
                        f"{shard} holds {member.name!r}, which is a link, a device or has holes: "
                        "write shards of plain files"
                    )
                if not name.name.startswith("."):
                    yield Member(member.name, member.offset_data, size)
    except tarfile.ReadError as reason:
        if "unexpected end" in str(reason):
            raise _cut_short(shard, total) from None
        raise RequestError(f"{shard} is no uncompressed tar file: {reason}") from None
    except tarfile.TarError as reason:
        raise RequestError(f"{shard} is damaged: {reason}") from None
    # A tar file ends with blocks of zeros; without them, members may be missing.
    if total < end + tarfile.BLOCKSIZE:
        raise _cut_short(shard, total)
    # tarfile ends without a word at the first header that is damaged or all zeros, wherever it is.
    file.seek(end)
    while content := file.read(_READ_BYTES):
        if content.strip(b"\0"):
            raise RequestError(
                f"{shard} is damaged after {end:,} bytes, or other tar files were joined to it: "
                "write it anew, or copy it again"
            )


def _cut_short(shard: str | Path, total: int) -> RequestError:
    return RequestError(f"{shard} is cut short after {total:,} bytes: copy it again")
