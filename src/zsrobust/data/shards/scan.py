"""Foreign shards, which come without an index: their headers are read once; nothing is unpacked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pyarrow as pa

from zsrobust.data.readers import IMAGE_SUFFIXES
from zsrobust.data.shards.index import Rows, Shard, joined
from zsrobust.data.shards.places import file_system, is_remote, last_part, unreachable
from zsrobust.data.shards.reader import local_copy
from zsrobust.utils.cache import cache_folder
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_file

# How fsspec's file systems call what changes when a file does. HTTP: "ETag" to "Last-Modified";
# S3: "ETag", "LastModified"; Azure: "etag", "last_modified"; Google: "etag", "generation"; SFTP
# and others: "mtime".
_VERSION_KEYS = (
    *("size", "ETag", "etag", "Content-MD5", "Digest", "Last-Modified"),
    *("LastModified", "last_modified", "mtime", "generation"),
)

# A label is a word or a few fields; more is no label, and is not read into memory.
_LABEL_BYTES = 1 << 20
_FILE_KINDS = (tarfile.REGTYPE, tarfile.AREGTYPE)

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Fields:
    """Which members of a foreign sample are meant.

    Attributes:
        image: extension of its image; None for the only one that is an image's.
        label: field of its ``.json`` that holds the label; None for its ``.cls``, else the field
            ``label`` of its ``.json``.
    """

    image: str | None = None
    label: str | None = None


def scan(
    places: Sequence[str], fields: Fields, report: Callable[[int], None]
) -> tuple[list[Shard], Rows, str]:
    """What the shards at ``places`` are and hold, and a stamp that changes when one of them does.

    A shard behind a URL is fetched for it, once. ``report`` is called with the number of shards
    done.

    Raises:
        RequestError: naming the shard, if one cannot be read, or two have one name.
        RunError: if one cannot be fetched.
    """
    shards, parts = [], []
    digest = hashlib.blake2b(json.dumps(vars(fields)).encode(), digest_size=20)
    place_of: dict[str, str] = {}
    for number, place in enumerate(places):
        shard = _seen(place)
        if place_of.setdefault(shard.name, place) != place:
            raise RequestError(
                f"{place_of[shard.name]} and {place} have one name, so their samples cannot be "
                "told apart: rename one"
            )
        rows = _rows(place, shard, number, fields)
        shards.append(replace(shard, samples=len(rows.ids)))
        parts.append(rows)
        digest.update(f"\0{place}\0{shard.version}".encode())
        report(number + 1)
    return shards, joined(parts), digest.hexdigest()


def _seen(place: str) -> Shard:
    """The shard as far as it is known from outside, its samples not yet counted."""
    name = last_part(place)
    if is_remote(place):
        fs, path = file_system(place)
        try:
            info = fs.info(path)
        except Exception as reason:
            raise unreachable(place, reason, RequestError) from None
        if info.get("size") is None:
            raise RequestError(f"{place}: the server does not tell its size; download it first")
        version = " ".join(str(info.get(key)) for key in _VERSION_KEYS)
        return Shard(name, 0, info["size"], version=version)
    try:
        status = Path(place).stat()
    except OSError as reason:
        raise RequestError(f"cannot read the shard {place}: {reason.strerror}") from None
    return Shard(name, 0, status.st_size, version=f"{status.st_size} {status.st_mtime_ns}")


def _rows(place: str, shard: Shard, number: int, fields: Fields) -> Rows:
    """The shard's rows, from the cache of an earlier pass if it is unchanged."""
    key = json.dumps([place, shard.version, vars(fields)])
    cached = cache_folder() / "shard-rows" / hashlib.sha256(key.encode()).hexdigest()
    rows = None
    # A cache that cannot be read or written costs time, never a run.
    with contextlib.suppress(OSError, pa.ArrowException, TypeError):
        rows = Rows.of_parquet(cached.read_bytes())
    if rows is None:
        path = local_copy(place, shard) if is_remote(place) else Path(place)
        try:
            with path.open("rb") as file:
                rows = _read_rows(file, place, shard.name, fields)
        except OSError as reason:
            raise RequestError(f"cannot read the shard {place}: {reason.strerror}") from None
        with contextlib.suppress(OSError), atomic_file(cached) as temporary:
            temporary.write_bytes(rows.to_parquet())
    rows.shard = [number] * len(rows.ids)
    return rows


def _read_rows(file: BinaryIO, path: str | Path, name: str, fields: Fields) -> Rows:
    """The samples of the tar file ``path``, open as ``file``, found by its headers.

    As in WebDataset, the members of a sample share their path up to the first dot of the file
    name; the rest is the extension. Ids are ``<name of the shard>/<key>``; the shard is number 0.

    Raises:
        RequestError: naming the member, if a sample lacks its image or label, or has one twice.
    """
    samples: dict[str, dict[str, _Member]] = {}
    for member in _tar_members(file, path):
        folder, base = posixpath.split(member.name)
        stem, _, extension = base.partition(".")
        members = samples.setdefault(posixpath.join(folder, stem), {})
        if extension.lower() in members:
            raise RequestError(f"{path} holds {member.name!r} twice: write it once")
        members[extension.lower()] = member
    rows = Rows()
    for key, members in samples.items():
        where = f"{path} sample {key!r}"
        image = _image(members, where, fields.image)
        rows.ids.append(f"{name}/{key}")
        rows.labels.append(_label(file, members, where, fields.label))
        rows.shard.append(0)
        rows.offset.append(image.offset)
        rows.size.append(image.size)
    if not samples:
        raise RequestError(f"{path} holds no samples")
    return rows


def _image(members: dict[str, _Member], where: str, wanted: str | None) -> _Member:
    if wanted:
        found = [extension for extension in members if extension == wanted.lower().lstrip(".")]
    else:
        found = [extension for extension in members if f".{extension}" in IMAGE_SUFFIXES]
    if len(found) == 1:
        return members[found[0]]
    what = f"{len(found)} images" if found else "no image" + (f" .{wanted}" if wanted else "")
    raise RequestError(
        f"{where} has {what} ({', '.join(members)}): name the one meant with image=EXTENSION"
    )


def _label(file: BinaryIO, members: dict[str, _Member], where: str, wanted: str | None) -> str:
    if wanted is None and "cls" in members:
        return _text(file, members["cls"], where).strip()
    if "json" not in members:
        raise RequestError(f"{where} has no label: it needs a member .cls, or .json with label")
    try:
        found: Any = json.loads(_text(file, members["json"], where))
        value = found[wanted or "label"]
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"{where} has a .json without the field {wanted or 'label'!r}: name the one meant "
            "with label=FIELD"
        ) from None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RequestError(f"{where} has the label {value!r}: it must be a number or a word")
    return str(value)


def _text(file: BinaryIO, member: _Member, where: str) -> str:
    if member.size > _LABEL_BYTES:
        raise RequestError(f"{where} has a label of {member.size:,} bytes: it is none")
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"{where} has a label that is not UTF-8") from None


@dataclass(frozen=True)
class _Member:
    """A file in a tar file: its name, and where its bytes begin and how many they are."""

    name: str
    offset: int
    size: int


def _tar_members(file: BinaryIO, shard: str | Path) -> Iterator[_Member]:
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
                    yield _Member(member.name, member.offset_data, size)
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
