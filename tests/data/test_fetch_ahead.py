import dataclasses
import threading

import pytest

from zsrobust.data.loading import AHEAD, fetched_ahead
from zsrobust.utils.errors import RunError


@pytest.fixture
def blocks(memory_set):
    """A set of 10 blocks of 3 samples, and what was fetched of it; a lock holds fetching up."""
    fetched: list[int] = []
    asked = threading.Semaphore(0)

    def fetch(block: int) -> None:
        fetched.append(block)
        asked.release()
        raise RunError("no network")

    images = dataclasses.replace(
        memory_set([0] * 30), blocks=tuple(i // 3 for i in range(30)), fetch_block=fetch
    )
    return images, fetched, asked


def test_what_comes_next_is_fetched_while_a_batch_is_used(blocks) -> None:
    images, fetched, asked = blocks
    batches = iter(fetched_ahead(images, [list(range(at, at + 6)) for at in range(0, 30, 6)]))
    assert next(batches) == [0, 1, 2, 3, 4, 5]
    for _ in range(2 + AHEAD):
        assert asked.acquire(timeout=10)
    assert not asked.acquire(timeout=0.05), "no more than the batch's own and those ahead"
    assert sorted(fetched) == [0, 1, 2, 3]
    assert next(batches) == [6, 7, 8, 9, 10, 11]
    for _ in range(2):
        assert asked.acquire(timeout=10)
    assert sorted(fetched) == [0, 1, 2, 3, 4, 5]


def test_each_block_is_asked_for_once_and_a_failure_is_left_to_the_reader(blocks) -> None:
    images, fetched, asked = blocks
    lists = [[0, 29, 15], [1, 28, 16], [3]]
    ahead = fetched_ahead(images, lists)
    assert list(ahead) == lists
    for _ in range(4):
        assert asked.acquire(timeout=10)
    assert sorted(fetched) == [0, 1, 5, 9]
    assert list(ahead) == lists, "a sampler may be gone through again"


def test_sets_without_blocks_are_left_alone(memory_set) -> None:
    lists = [[0], [1]]
    assert fetched_ahead(memory_set([0, 1]), lists) is lists
