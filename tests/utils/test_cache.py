import os
from pathlib import Path

import pytest

from zsrobust.utils.cache import cache_limit, make_room
from zsrobust.utils.errors import RequestError


@pytest.fixture
def filled(cache: Path):
    """Writes files of 100 bytes, each used later than the one before."""

    def fill(*names: str) -> list[Path]:
        for at, name in enumerate(names):
            path = cache / name
            path.parent.mkdir(exist_ok=True, parents=True)
            path.write_bytes(bytes(100))
            os.utime(path, ns=(at, at))
        return [cache / name for name in names]

    return fill


@pytest.mark.parametrize(
    ("asked", "gone"),
    [(50, 0), (100, 0), (101, 1), (200, 1), (201, 2), (400, 3)],
)
def test_the_longest_unused_goes_first(filled, monkeypatch, asked: int, gone: int) -> None:
    paths = filled("pixels/b", "shards/a", "pixels/a")
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "4e-7")
    assert make_room(asked)
    assert [path.exists() for path in paths] == [at >= gone for at in range(3)]


def test_what_cannot_fit_deletes_nothing(filled, monkeypatch) -> None:
    paths = filled("pixels/b", "shards/a")
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "4e-7")
    assert not make_room(401)
    assert all(path.exists() for path in paths)


def test_small_cache_entries_and_locks_stay(filled, monkeypatch) -> None:
    verdict, lock, old = filled("verified/a", "shards/x.lock", "shards/x")
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "2.5e-7")
    assert make_room(100)
    assert verdict.exists()
    assert lock.exists()
    assert not old.exists()


@pytest.mark.parametrize(("text", "limit"), [("20", 20 * 10**9), ("0", 0), ("0.5", 5 * 10**8)])
def test_the_limit_is_in_gigabytes(monkeypatch, text: str, limit: int) -> None:
    monkeypatch.setenv("ZSROBUST_CACHE_GB", text)
    assert cache_limit() == limit


@pytest.mark.parametrize("text", ["", "much", "-1", "nan", "inf"])
def test_another_limit_is_refused(monkeypatch, text: str) -> None:
    monkeypatch.setenv("ZSROBUST_CACHE_GB", text)
    with pytest.raises(RequestError, match=r"ZSROBUST_CACHE_GB is .+: write a number of"):
        cache_limit()
