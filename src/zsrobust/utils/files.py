"""Atomic writes: files and folders that are complete or absent, and durable once they are there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from zsrobust.utils.errors import NotWritten, RequestError
from zsrobust.utils.validation import nearest

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
LEAST_ROOM = 10_000_000
"""Bytes that should be free where anything is written, however small."""


def local_path(text: str) -> Path:
    """The path that a user wrote, with ``~`` expanded where the shell did not."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        # There is no such user: a name like any other.
        return Path(text)


def is_folder(name: str) -> bool:
    """Whether ``name``, which need not be a valid path, is a folder."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def near_folder(path: Path) -> str:
    """``; did you mean PATH?`` for the folder beside ``path`` with the nearest name; else empty."""
    try:
        known = [entry.name for entry in path.parent.iterdir() if entry.is_dir()]
    except (OSError, ValueError):
        return ""
    near = nearest(path.name, known)
    return f"; did you mean {path.parent / near}?" if near else ""


def require_room(folder: Path, needed: float, what: str, instead: str = "out") -> None:
    """Refuse a disk that has not the room for what is to be written.

    Args:
        folder: where it goes, which need not be there yet.
        needed: bytes.
        what: needs them, for the message.
        instead: option that names another folder.

    Raises:
        RequestError: if fewer are free.
    """
    at = folder.absolute()
    disk = shutil.disk_usage(next(one for one in (at, *at.parents) if one.exists()))
    # File systems without a size, such as /proc, are refused by the attempt to write.
    if disk.total and disk.free < needed:
        raise RequestError(
            f"{what} needs about {_size(needed)} in {folder}, where {_size(disk.free)} are free: "
            f"make room, or name a folder on another disk with --{instead}"
        )


def _size(count: float) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count / 1e3:,.0f} kB"


def size_of(folder: Path) -> int:
    """The bytes of all files below ``folder``, 0 where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def as_argument(path: Path) -> str:
    """``path`` as a command-line argument that is not read as an option, a list or ``~``."""
    text = str(path)
    return f"./{text}" if text.startswith(("-", "~", "[")) else text


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def name_failed_write(path: Path) -> Iterator[None]:
    """Turn a disk's failure inside the block into an error that names ``path``.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK or isinstance(error, NotWritten):
            raise
        raise _not_written(path, error.errno, os.strerror(error.errno)) from error
    except SafetensorError as error:
        # It has no error number, only a message.
        raise _not_written(path, errno.EIO, str(error)) from error


def _not_written(path: Path, number: int, why: str) -> NotWritten:
    lost = "the earlier version is intact, and the same command resumes from it"
    return NotWritten(number, f"{path} could not be written: {why}; {lost}")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path to write a file to, renamed to ``path`` if the block succeeds.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    with name_failed_write(path), _atomic_file(path) as temporary:
        yield temporary


@contextmanager
def _atomic_file(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, atomically.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it replaces ``path`` if the block succeeds.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    with name_failed_write(path), _atomic_folder(path) as temporary:
        yield temporary


@contextmanager
def _atomic_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        # mkdtemp makes a private folder, and safetensors private files; a run folder and what is in
        # it are as open as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        for file in temporary.iterdir():
            if file.is_file():
                file.chmod(0o666 & ~umask)
            sync(file)
        sync(temporary)
        temporary.chmod(0o777 & ~umask)
        if path.exists():
            # A folder cannot replace another in one call: the old one is moved aside first.
            aside = temporary.with_suffix(".old")
            path.rename(aside)
            temporary.rename(path)
            shutil.rmtree(aside)
        else:
            temporary.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files that a killed process left below ``folder``.

    A folder that was moved aside for one that was never moved in is restored.
    """
    for aside in list(folder.rglob(".*.old")):
        before = aside.with_name(aside.name[1:].rsplit(".", 2)[0])
        if not before.exists():
            aside.rename(before)
    for left in [*folder.rglob(".*.tmp"), *folder.rglob(".*.old")]:
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink(missing_ok=True)
