"""The file of a bundle: a zip archive of three files, of which every byte is accounted for.

Members are stored without compression, under fixed names, dates and modes: equal contents give
equal bytes, an archive that differs in any byte from the one that its contents give is refused, and
nothing expands when it is read. Nothing is ever extracted to disk.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsrobust.utils.errors import RequestError

FORMAT = 1
MANIFEST, RESULTS, OUTCOMES = "manifest.json", "results.json", "outcomes.parquet"
MOST_BYTES = 256 << 20
DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip archive can hold."""


@dataclass(frozen=True)
class Archive:
    """The contents of a bundle, with the hashes of its manifest.

    Attributes:
        name: of the file, for messages.
        sha256: of the whole file, in hex.
        manifest: what ``manifest.json`` holds, but for ``format``, ``files`` and ``sha256``.
        results, outcomes: the bytes of the two other files.
    """

    name: str
    sha256: str
    manifest: dict[str, Any]
    results: bytes
    outcomes: bytes


def pack(manifest: dict[str, Any], results: bytes, outcomes: bytes) -> bytes:
    """The bytes of a bundle; equal for equal contents."""
    files = {RESULTS: results, OUTCOMES: outcomes}
    hashes = {name: _digest(content) for name, content in files.items()}
    whole = {"format": FORMAT, **manifest, "files": hashes}
    text = as_json({**whole, "sha256": _digest(as_json(whole))})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted({**files, MANIFEST: text}.items()):
            member = zipfile.ZipInfo(name, DATE)
            member.create_system = 3  # Unix, wherever it is written.
            archive.writestr(member, content)
    return buffer.getvalue()


def read_archive(path: Path) -> Archive:
    """Read a bundle into memory.

    Raises:
        RequestError: if it is missing, no bundle, of another format, damaged or changed.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise RequestError(f"{path} is not a file: name a bundle that zsrobust bundle wrote")
        if size > MOST_BYTES:
            raise RequestError(f"{path} is too large for a bundle: {size} bytes of {MOST_BYTES}")
        return unpack(path.read_bytes(), str(path))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}") from None


def unpack(content: bytes, name: str) -> Archive:
    """The contents of a bundle called ``name``.

    Raises:
        RequestError: if it is no bundle, of another format, damaged or changed.
    """
    files = _members(content, name)
    try:
        manifest = json.loads(files[MANIFEST])
        found = manifest["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RequestError(f"{name} is no bundle: its {MANIFEST} is damaged") from None
    if found != FORMAT:
        raise RequestError(f"{name} has format {found}: this version reads {FORMAT}")
    hashes = manifest.get("files")
    for file in (RESULTS, OUTCOMES):
        if not isinstance(hashes, dict) or hashes.get(file) != _digest(files[file]):
            raise RequestError(
                f"{name} was damaged or changed: {file} does not have the SHA-256 in {MANIFEST}"
            )
    about = {key: v for key, v in manifest.items() if key not in ("format", "files", "sha256")}
    if pack(about, files[RESULTS], files[OUTCOMES]) != content:
        raise RequestError(
            f"{name} was damaged or changed: zsrobust bundle writes other bytes for its contents"
        )
    return Archive(name, _digest(content), about, files[RESULTS], files[OUTCOMES])


def as_json(value: Any) -> bytes:
    """``value`` as the JSON files of a bundle hold it."""
    return (json.dumps(value, indent=1) + "\n").encode()


def _members(content: bytes, name: str) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            _require_names([member.filename for member in members], name)
            for member in members:
                if member.compress_type != zipfile.ZIP_STORED or member.file_size > len(content):
                    raise RequestError(
                        f"{name} is no bundle: {member.filename} is compressed, and bundles are "
                        "stored uncompressed"
                    )
            return {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OSError):
        raise RequestError(f"{name} is no bundle: it is no whole zip archive") from None
    except (NotImplementedError, RuntimeError) as error:  # Encrypted, or a method unknown here.
        raise RequestError(f"{name} is no bundle: {error}") from None


def _require_names(names: list[str], name: str) -> None:
    known = {MANIFEST, RESULTS, OUTCOMES}
    for found, count in Counter(names).items():
        if found not in known:
            raise RequestError(f"{name} is no bundle: it holds {found[:80]!r}")
        if count > 1:
            raise RequestError(f"{name} is no bundle: it holds {found} twice")
    if missing := sorted(known - set(names)):
        raise RequestError(f"{name} is no bundle: it has no {' and no '.join(missing)}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
