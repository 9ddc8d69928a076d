import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import ArrayReader
from zsrobust.training.feed import Feed


def images(sizes: list[int]) -> ImageSet:
    """Blocks of those sizes; sample i is one pixel of level i, labelled i."""
    n = sum(sizes)
    return ImageSet(
        name="blocks",
        split="train",
        class_names=tuple(map(str, range(n))),
        sample_ids=tuple(f"s{i}" for i in range(n)),
        labels=tuple(range(n)),
        read_image=ArrayReader(np.arange(n, dtype=np.uint8).reshape(-1, 1, 1)),
        blocks=tuple(block for block, size in enumerate(sizes) for _ in range(size)),
        native_size=1,
    )


def steps(data: ImageSet, rank: int, world: int, parts: int, first: int, end: int, workers=0):
    """(epoch, samples of each part) of each step that one process sees."""
    feed = Feed(
        train_set=data,
        held_out=data,
        batch_size=12,
        parts=parts,
        rank=rank,
        world_size=world,
        seed=5,
        resize="clip",
        resolution=1,
        workers=workers,
    )
    for epoch, batches in feed.training(first, end):
        for batch in batches:
            levels = (batch.images.flatten(1)[:, 0] * 255).round().int().tolist()
            assert levels == batch.labels.tolist()
            assert batch.sample_ids == [f"s{level}" for level in levels]
        yield epoch, [batch.labels.tolist() for batch in batches]


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) >= 12),
    st.sampled_from([(1, 1), (2, 1), (3, 2), (4, 3), (6, 1), (12, 1)]),
    st.data(),
)
def test_ranks_and_epochs_part_the_images(sizes, layout, data) -> None:
    world, parts = layout
    whole = images(sizes)
    per_epoch = len(whole) // 12
    alone = list(steps(whole, 0, 1, 1, 0, 2 * per_epoch))
    shared = [list(steps(whole, rank, world, parts, 0, 2 * per_epoch)) for rank in range(world)]
    for number, (epoch, batch) in enumerate(alone):
        assert epoch == number // per_epoch
        mine = [shared[rank][number] for rank in range(world)]
        assert {at for at, _ in mine} == {epoch}
        assert {len(part) for _, cut in mine for part in cut} == {12 // world // parts}
        together = [sample for _, cut in mine for part in cut for sample in part]
        assert sorted(together) == sorted(batch[0]), "the same global batch for any world size"
    for epoch in range(2):
        drawn = [sample for at, batch in alone if at == epoch for sample in batch[0]]
        assert len(drawn) == len(set(drawn)) == per_epoch * 12
    cut = data.draw(st.integers(0, 2 * per_epoch))
    rank = data.draw(st.integers(0, world - 1))
    assert list(steps(whole, rank, world, parts, cut, 2 * per_epoch)) == shared[rank][cut:]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    whole = images([20, 7, 30, 15])
    for rank in range(2):
        alone = list(steps(whole, rank, 2, 3, 2, 11))
        assert list(steps(whole, rank, 2, 3, 2, 11, workers)) == alone
