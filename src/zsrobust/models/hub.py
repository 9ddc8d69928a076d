"""Files of the Hugging Face hub and of other addresses, from the cache or downloaded and checked.

The hub's large files (Git LFS) are named by their SHA-256 in its cache; huggingface_hub compares
their sizes alone, so a new one is hashed here.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import math
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from zsrobust.utils.cache import cache_folder
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import sha256_of
from zsrobust.utils.progress import Steps

T = TypeVar("T")
PATIENCE_S = 10.0
TRIES = 5
"""Attempts without a new byte after which a download from a plain address fails."""
_BLOCK = 10**6


@contextlib.contextmanager
def cache_only() -> Iterator[None]:
    """Within the block, hub files come from the cache at once, never from the network."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def fetch(get: Callable[[], T], what: str, source: str) -> T:
    """The result of ``get``, which asks the hub's own functions for files of ``source``.

    The cache is tried first, alone: on a machine without network the hub's functions would
    retry for most of a minute, even for a file they have. A large file that was downloaded and
    has another SHA-256 than the hub tells is deleted.

    Args:
        get: run at most twice.
        what: names the files for the error, such as ``the weights of RN50/openai``.
        source: ``org/name`` on the hub, or the address of a file elsewhere.

    Raises:
        RequestError: if the files are neither in the cache nor to be had, or come damaged.
    """
    from huggingface_hub import constants

    # Each library wraps the hub's errors in its own, so there is no common class to catch.
    try:
        with cache_only():
            return get()
    except Exception as reason:
        failure = reason
    elsewhere = "://" in source
    place = source if elsewhere else f"{constants.ENDPOINT}/{source}"
    if constants.HF_HUB_OFFLINE or not _answers(source if elsewhere else constants.ENDPOINT):
        way = (
            "download it where there is a network and copy it into ~/.cache/clip"
            if elsewhere
            else f"run `hf download {source}` where a network is, and copy the hub's cache here"
        )
        raise RequestError(
            f"{what} are not on this machine, and it cannot reach {place}: {way}"
        ) from failure
    before = _cached_files()
    try:
        result = get()
    except Exception as reason:
        _require_whole(before, what, place)
        raise RequestError(_refusal(what, place, reason)) from reason
    _require_whole(before, what, place)
    return result


def first_file(repository: str, *names: str) -> str:
    """The path of the first of ``names`` that a repository has; to be called by way of ``fetch``.

    open_clip's own search takes any failure for a missing file and goes on to the next name.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names[:-1]:
        try:
            return hf_hub_download(repository, name)
        except EntryNotFoundError as reason:
            # A hub that does not answer raises this as well.
            if isinstance(reason, LocalEntryNotFoundError) and not constants.HF_HUB_OFFLINE:
                raise
    return hf_hub_download(repository, names[-1])


def fetch_address(address: str, what: str, sha256: str = "") -> Path:
    """The file at a plain address, from the cache of this package or downloaded into it.

    A download that breaks goes on from where it was, in this call or the next.

    Args:
        address: an ``http`` or ``https`` address that serves the file itself.
        what: names the file for the error.
        sha256: what it must have, in hex; empty where its authors tell none.

    Raises:
        RequestError: if it is neither in the cache nor to be had, or comes damaged.
    """
    from filelock import FileLock

    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    path = cache_folder() / "weights" / key / PurePosixPath(urlsplit(address).path).name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    # Several processes of one run ask at once.
    with FileLock(f"{path}.lock"):
        if path.is_file():
            return path
        try:
            _download(address, part)
        except OSError as reason:
            if isinstance(reason, HTTPError) or _answers(address):
                raise RequestError(_refusal(what, address, reason)) from reason
            raise RequestError(
                f"{what} are not on this machine, and it cannot reach {address}: download it where "
                f"a network is and copy it to {path}"
            ) from reason
        if sha256 and sha256_of(part) != sha256:
            part.unlink()
            raise RequestError(_damaged(what, address, sha256))
        part.replace(path)
    return path


def _download(address: str, part: Path) -> None:
    """Write the file to ``part``, from where that ends.

    Raises:
        OSError: if it stays incomplete.
    """
    failures = 0
    while failures < TRIES:
        done = _size(part)
        with contextlib.suppress(TimeoutError, ConnectionError, http.client.HTTPException):
            if _append(address, part, done):
                return
        failures = 0 if _size(part) > done else failures + 1
    raise ConnectionError("the connection broke again and again")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _append(address: str, part: Path, done: int) -> bool:
    """One request for the bytes from ``done`` on; whether the file is then complete."""
    headers = {"User-Agent": "zsrobust"} | ({"Range": f"bytes={done}-"} if done else {})
    with urlopen(Request(address, headers=headers), timeout=PATIENCE_S) as answer:
        resumed = answer.status == http.client.PARTIAL_CONTENT
        blocks = math.ceil((answer.length or 0) / _BLOCK)
        name = PurePosixPath(urlsplit(address).path).name
        with (
            part.open("ab" if resumed else "wb") as file,
            Steps(f"MB of {name}", blocks, quiet=not blocks) as steps,
        ):
            while block := answer.read(_BLOCK):
                file.write(block)
                steps.advance()
        # A connection that breaks reads like the end of the file; what was promised says more.
        return not answer.length


def _cached_files() -> set[Path]:
    from huggingface_hub import constants

    return set(Path(constants.HF_HUB_CACHE).glob("models--*/blobs/*"))


def _require_whole(before: set[Path], what: str, place: str) -> None:
    """Refuse, and delete, a large file of the hub that is not what its name says."""
    for file in sorted(_cached_files() - before):
        if re.fullmatch("[0-9a-f]{64}", file.name) and sha256_of(file) != file.name:
            # It may be a link to a store that caches share.
            for path in (file.resolve(), file):
                path.unlink(missing_ok=True)
            raise RequestError(_damaged(what, place, file.name))


def _damaged(what: str, place: str, sha256: str) -> str:
    return (
        f"{what} came damaged from {place}: a file's SHA-256 is not {sha256}, so it was deleted: "
        "run the same command again"
    )


def _refusal(what: str, place: str, reason: BaseException) -> str:
    """Why files are not to be had, which libraries wrap in errors of their own."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    begin = f"{what} could not be had"
    cause: BaseException | None = reason
    while cause is not None:
        if isinstance(cause, GatedRepoError):
            return (
                f"{what} are behind a gate: accept the conditions at {place} in a browser, then "
                "log in here with `hf auth login`"
            )
        if isinstance(cause, RepositoryNotFoundError) or _is_unknown(cause):
            return (
                f"{begin}: {place} does not exist, or is private: check the name, "
                "or log in with `hf auth login`"
            )
        if status := _status(cause):
            return f"{begin}: {place} answers {status}"
        if "Timeout" in type(cause).__name__:
            return f"{begin}: {place} did not answer in time: try again later"
        cause = cause.__cause__ or cause.__context__
    return f"{begin} from {place}: {textwrap.shorten(str(reason), 300)}"


def _is_unknown(cause: BaseException) -> bool:
    """Whether the answer is 401, but not for a bad token: as to a private or missing repository."""
    answer: Any = getattr(cause, "response", None)
    if getattr(answer, "status_code", None) != http.client.UNAUTHORIZED:
        return False
    return "Invalid credentials" not in answer.headers.get("X-Error-Message", "")


def _status(cause: BaseException) -> str:
    """The status of the answer that an error is about, and what to do; empty if there is none."""
    answer = getattr(cause, "response", None)
    status = cause.code if isinstance(cause, HTTPError) else getattr(answer, "status_code", None)
    if not isinstance(status, int):
        return ""
    text = f"{status} {http.client.responses.get(status, '')}".strip()
    if status == http.client.UNAUTHORIZED:
        return f"{text}: your token is not valid, log in again with `hf auth login`"
    if status == http.client.NOT_FOUND:
        return f"{text} for {getattr(answer, 'url', None) or 'this file'}"
    if status == http.client.TOO_MANY_REQUESTS or status >= http.client.INTERNAL_SERVER_ERROR:
        return f"{text}: try again later"
    return text


def _answers(url: str) -> bool:
    """Whether anything answers at ``url``; proxies are used as the environment says."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=PATIENCE_S):
            return True
    except HTTPError:
        return True
    except OSError:
        return False
