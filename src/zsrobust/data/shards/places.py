"""Where shards are: a path, a pattern or a URL, spelled out and read from."""

from __future__ import annotations

import glob
import posixpath
import re
from pathlib import Path
from typing import Any, TypeVar

from zsrobust.utils.errors import RequestError, ZSRobustError

_Error = TypeVar("_Error", bound=ZSRobustError)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_remote(place: str) -> bool:
    """Whether ``place`` is a URL."""
    return _SCHEME.match(place) is not None


def spelled_out(pattern: str) -> list[str]:
    """The sorted places that match ``pattern``: braces as in a shell, then ``* ? []``.

    Braces are not looked up, so that a missing shard is reported.

    Raises:
        RequestError: if braces are wrong, or a file system cannot be listed.
    """
    import braceexpand

    try:
        spelled = list(braceexpand.braceexpand(pattern))
    except ValueError as reason:
        raise RequestError(f"the pattern {pattern!r} is wrong: {reason}") from None
    found = []
    for place in spelled:
        if not _is_pattern(place):
            found.append(place)
        elif is_remote(place):
            found += _remote_matches(place)
        else:
            path = Path(place).expanduser()
            plain = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
            found += map(str, plain.glob(str(path.relative_to(plain))))
    return sorted(dict.fromkeys(found))


def folder_of(place: str) -> str:
    """What holds ``place``."""
    return _path(place).rpartition("/")[0] if is_remote(place) else str(Path(place).parent)


def below(folder: str, name: str) -> str:
    """The place called ``name`` in ``folder``."""
    return f"{folder.rstrip('/')}/{name}" if is_remote(folder) else str(Path(folder) / name)


def last_part(place: str) -> str:
    """The name of the file or folder at ``place``, without a URL's query."""
    return posixpath.basename(_path(place).rstrip("/"))


def read_place(place: str) -> bytes | None:
    """What the file at ``place`` holds; None if there is none.

    Raises:
        RequestError: if it cannot be reached.
    """
    try:
        if not is_remote(place):
            return Path(place).read_bytes()
        fs, path = file_system(place)
        content: bytes = fs.cat_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except RequestError:
        raise
    except Exception as reason:
        raise unreachable(place, reason, RequestError) from None
    return content


def file_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for ``url``, and the path in it.

    Raises:
        RequestError: if the package that it needs is not installed, or the scheme is unknown.
    """
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as reason:
        scheme = url.partition(":")[0]
        hint = "pip install 'zsrobust[remote]'" if scheme in ("http", "https") else str(reason)
        raise RequestError(f"{scheme} addresses need one more package: {hint}") from None
    except ValueError as reason:
        raise RequestError(f"cannot read {url!r}: {reason}") from None
    return fs, path


def unreachable(place: str, reason: Exception, kind: type[_Error]) -> _Error:
    """The error that says why ``place`` could not be read."""
    detail = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
    return kind(f"cannot fetch {place}: {detail}")


def _path(place: str) -> str:
    """``place`` without the query that an http address may have."""
    return place.partition("?")[0] if place.startswith(("http://", "https://")) else place


def _is_pattern(place: str) -> bool:
    return glob.has_magic(_path(place).partition("://")[2] or _path(place))


def _remote_matches(pattern: str) -> list[str]:
    fs, path = file_system(pattern)
    try:
        return [fs.unstrip_protocol(match) for match in fs.glob(path)]
    except Exception as reason:
        raise unreachable(pattern, reason, RequestError) from None
