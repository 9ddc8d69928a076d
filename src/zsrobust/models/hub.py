"""Files of the Hugging Face hub: from the cache on disk, else downloaded, else an error."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from zsrobust.utils.errors import RequestError

T = TypeVar("T")
PATIENCE_S = 10.0


@contextmanager
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
    retry for most of a minute, even for a file they have.

    Args:
        get: run at most twice.
        what: names the files for the error, such as ``the weights of RN50/openai``.
        source: ``org/name`` on the hub, or the address of a file elsewhere.

    Raises:
        RequestError: if the files are neither in the cache nor to be had.
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
    try:
        return get()
    except Exception as reason:
        raise RequestError(_refusal(what, place, reason)) from reason


def _refusal(what: str, place: str, reason: BaseException | None) -> str:
    """Why the hub gave no files, which libraries wrap in errors of their own."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    details = textwrap.shorten(str(reason), 300)
    while reason is not None:
        if isinstance(reason, GatedRepoError):
            return (
                f"{what} are behind a gate: accept the conditions at {place} in a browser, then "
                "log in here with `hf auth login`"
            )
        if isinstance(reason, RepositoryNotFoundError):
            return (
                f"{what} could not be had: {place} does not exist, or is private: check the name, "
                "or log in with `hf auth login`"
            )
        reason = reason.__cause__ or reason.__context__
    return f"{what} could not be had from {place}: {details}"


def _answers(url: str) -> bool:
    """Whether anything answers at ``url``; proxies are used as the environment says."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=PATIENCE_S):
            return True
    except HTTPError:
        return True
    except OSError:
        return False
