from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsrobust.data.sampler import epoch_batches, shard, steps_per_epoch, windowed_order
from zsrobust.utils.errors import RequestError

sizes = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 5), st.integers(0, 5))
def test_full_batches_no_sample_twice(size: tuple[int, int], seed: int, epoch: int) -> None:
    n, batch_size = size
    ids = [f"s{i}" for i in range(n)]
    batches = epoch_batches(ids, batch_size, seed, epoch)
    assert len(batches) == steps_per_epoch(n, batch_size) == n // batch_size
    assert {len(batch) for batch in batches} == {batch_size}
    drawn = [index for batch in batches for index in batch]
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(range(n))


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(0, 3))
def test_with_the_last_batch_an_epoch_sees_every_image_once(
    size: tuple[int, int], epoch: int
) -> None:
    n, batch_size = size
    ids = [f"image {i}" for i in range(n)]
    batches = epoch_batches(ids, batch_size, 0, epoch, drop_last=False)
    assert len(batches) == steps_per_epoch(n, batch_size, drop_last=False)
    assert sorted(index for batch in batches for index in batch) == list(range(n))
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert batches[: n // batch_size] == epoch_batches(ids, batch_size, 0, epoch)


def test_the_order_follows_seed_and_epoch_alone() -> None:
    ids = [f"s{i}" for i in range(64)]
    first = epoch_batches(ids, 8, 0, 0)
    assert first == epoch_batches(ids, 8, 0, 0)
    assert first != epoch_batches(ids, 8, 0, 1)
    assert first != epoch_batches(ids, 8, 1, 0)
    by_name = [[ids[i] for i in batch] for batch in first]
    back = ids[::-1]
    assert by_name == [[back[i] for i in batch] for batch in epoch_batches(back, 8, 0, 0)]


def test_the_dropped_samples_change_with_the_epoch() -> None:
    ids = [f"s{i}" for i in range(11)]
    seen = set()
    for epoch in range(12):
        seen |= {index for batch in epoch_batches(ids, 10, 0, epoch) for index in batch}
    assert seen == set(range(11))


@pytest.mark.parametrize("batch_size", [0, -4, 11])
def test_a_batch_size_that_does_not_fit_is_refused(batch_size: int) -> None:
    with pytest.raises(RequestError, match=f"batch size {batch_size} does not fit 10"):
        steps_per_epoch(10, batch_size)
    with pytest.raises(RequestError, match="from 1 to 10"):
        epoch_batches([str(i) for i in range(10)], batch_size, 0, 0)


@given(st.lists(st.integers(), max_size=40), st.integers(1, 9))
def test_shards_make_up_the_batch(batch: list[int], world_size: int) -> None:
    parts = [shard(batch, rank, world_size) for rank in range(world_size)]
    assert sorted(index for part in parts for index in part) == sorted(batch)
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=25), st.integers(1, 6), st.integers(0, 9))
def test_a_window_of_blocks_is_in_use_and_each_sample_comes_once(
    sizes: list[int], window: int, seed: int
) -> None:
    blocks = [block for block, size in enumerate(sizes) for _ in range(size)]
    ids = [f"s{i}" for i in range(len(blocks))]
    order = windowed_order(ids, blocks, seed, "epoch 0", window)
    assert sorted(order) == list(range(len(blocks)))
    passed = [blocks[index] for index in order]
    for at in range(len(passed)):
        assert len(set(passed[:at]) & set(passed[at:])) <= window


def test_a_windows_samples_are_well_mixed() -> None:
    """Neighbours in the order are of one block about once in ``window``, as in a true shuffle."""
    blocks = [block for block in range(60) for _ in range(100)]
    order = windowed_order([f"s{i}" for i in range(6000)], blocks, 0, "epoch 0", 8)
    same = sum(blocks[a] == blocks[b] for a, b in pairwise(order))
    assert same / 6000 == pytest.approx(1 / 8, abs=0.02)
    stored = sum(b == a + 1 for a, b in pairwise(order))
    assert stored / 6000 < 0.01, "stored neighbours are apart"
    assert order != windowed_order([f"s{i}" for i in range(6000)], blocks, 0, "epoch 1", 8)


def test_blocks_order_the_batches() -> None:
    ids, blocks = [f"s{i}" for i in range(40)], [i // 4 for i in range(40)]
    batches = epoch_batches(ids, 5, 0, 0, blocks)
    drawn = [index for batch in batches for index in batch]
    assert drawn == windowed_order(ids, blocks, 0, "epoch 0")
