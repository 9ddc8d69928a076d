"""Foreign shards, which come without an index: their headers are read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from zsrobust.data.shards.contents import Fields, Rows, Shard, joined, read_rows
from zsrobust.data.shards.places import file_system, is_remote, last_part, unreachable
from zsrobust.data.shards.shard_cache import local_copy
from zsrobust.utils.cache import cache_folder
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import written_whole

# How fsspec's file systems call what changes when a file does. HTTP: "ETag" to "Last-Modified";
# S3: "ETag", "LastModified"; Azure: "etag", "last_modified"; Google: "etag", "generation"; SFTP
# and others: "mtime".
_VERSION_KEYS = (
    *("size", "ETag", "etag", "Content-MD5", "Digest", "Last-Modified"),
    *("LastModified", "last_modified", "mtime", "generation"),
)


def scan(
    places: Sequence[str], fields: Fields, report: Callable[[int], None]
) -> tuple[list[Shard], Rows, str]:
    """What the shards at ``places`` are and hold, and a stamp that changes when one of them does.

    A shard behind a URL is fetched for it, once. ``report`` is told how many shards are done.

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
    """The shard's rows, from what was kept of an earlier pass if it is unchanged."""
    key = json.dumps([place, shard.version, vars(fields)])
    kept = cache_folder() / "shard-rows" / hashlib.sha256(key.encode()).hexdigest()
    rows = None
    # A cache that cannot be read or written costs time, never a run.
    with contextlib.suppress(OSError, pa.ArrowException, TypeError):
        rows = Rows.of_parquet(kept.read_bytes())
    if rows is None:
        path = local_copy(place, shard) if is_remote(place) else Path(place)
        try:
            with path.open("rb") as file:
                rows = read_rows(file, place, shard.name, fields)
        except OSError as reason:
            raise RequestError(f"cannot read the shard {place}: {reason.strerror}") from None
        with contextlib.suppress(OSError), written_whole(kept) as temporary:
            temporary.write_bytes(rows.to_parquet())
    rows.shard = [number] * len(rows.ids)
    return rows
