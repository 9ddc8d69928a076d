"""Files that are whole or absent: written beside their place, made durable, then moved there."""

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

from zsrobust.utils.errors import NotWritten

DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def local_path(text: str) -> Path:
    """The path that a person wrote; ``~`` is the home folder, whether the shell saw it or not."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        # There is no such user, so it is a name like any other.
        return Path(text)


def is_folder(name: str) -> bool:
    """Whether ``name``, which may be no path at all, is that of a folder."""
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):
        return False


def as_argument(path: Path) -> str:
    """``path`` as an argument of a command: taken for no option, list or ``~``."""
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
def telling(path: Path) -> Iterator[None]:
    """Inside, a disk that fails fails by the name of what could not be written, ``path``.

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
        # It knows the reason as words alone.
        raise _not_written(path, errno.EIO, str(error)) from error


def _not_written(path: Path, number: int, why: str) -> NotWritten:
    lost = "what was there before is still whole, and the same command goes on from it"
    return NotWritten(number, f"{path} could not be written: {why}; {lost}")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path to write a file to; it becomes ``path`` once the block ends well.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    with telling(path), _written_whole(path) as temporary:
        yield temporary


@contextmanager
def _written_whole(path: Path) -> Iterator[Path]:
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
    """Write ``text`` to ``path``, whole or not at all.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; it becomes ``path``, replacing it, once the block ends well.

    Raises:
        NotWritten: if the disk is full, read-only or failing.
    """
    with telling(path), _folder_written_whole(path) as temporary:
        yield temporary


@contextmanager
def _folder_written_whole(path: Path) -> Iterator[Path]:
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
            # A folder cannot replace another in one call: the old one steps aside first.
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
    """Delete what a killed process left below ``folder`` of the two writers above.

    A folder that had stepped aside for one that never came is put back.
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
