"""The batches of this process: its share of every global batch, in the order of the steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from zsrobust.data.batch import Batch
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import load_batches
from zsrobust.data.sampler import epoch_batches, shard, steps_per_epoch


@dataclass(frozen=True)
class Feed:
    """Batches for one of several processes.

    Attributes:
        train_set: images to train on.
        held_out: images to select the model on.
        batch_size: images a step, over all processes and parts; a multiple of their number.
        parts: pieces that each process's share of a batch comes in.
        rank, world_size: which process this is, of how many.
        seed: of the order.
        resize, resolution: the loader's resize, and the side in pixels it brings images to.
        workers: processes that read images.
        drop_last: leave out an epoch's last batch where it is incomplete.
    """

    train_set: ImageSet
    held_out: ImageSet
    batch_size: int
    parts: int
    rank: int
    world_size: int
    seed: int
    resize: str
    resolution: int
    workers: int
    drop_last: bool = True

    @property
    def per_epoch(self) -> int:
        """Steps an epoch.

        Raises:
            RequestError: if the training set is smaller than a batch.
        """
        return steps_per_epoch(len(self.train_set), self.batch_size, drop_last=self.drop_last)

    def images_of(self, step: int) -> int:
        """Images of a step, counted from 0, over all processes and parts."""
        seen = step % self.per_epoch * self.batch_size
        return min(self.batch_size, len(self.train_set) - seen)

    @property
    def _size(self) -> int:
        return self.batch_size // self.world_size // self.parts

    def training(self, first: int, end: int) -> Iterator[tuple[int, list[Batch]]]:
        """The epoch and this process's parts of the batch, for each step in ``first .. end-1``."""
        for epoch in range(first // self.per_epoch, -(-end // self.per_epoch)):
            begin = epoch * self.per_epoch
            order = epoch_batches(
                self.train_set.sample_ids,
                self.batch_size,
                self.seed,
                epoch,
                self.train_set.blocks,
                drop_last=self.drop_last,
            )
            wanted = order[max(0, first - begin) : end - begin]
            cuts = [self._cut(shard(batch, self.rank, self.world_size)) for batch in wanted]
            loaded = self._load(self.train_set, [part for cut in cuts for part in cut])
            for cut in cuts:
                yield epoch, [next(loaded) for _ in cut]

    def selection(self) -> Iterator[Batch]:
        """This process's share of the held-out images, each sample on one process."""
        mine = list(range(self.rank, len(self.held_out), self.world_size))
        return self._load(self.held_out, self._cut(mine))

    def _cut(self, indices: list[int]) -> list[list[int]]:
        return [indices[at : at + self._size] for at in range(0, len(indices), self._size)]

    def _load(self, image_set: ImageSet, batches: list[list[int]]) -> Iterator[Batch]:
        return load_batches(
            image_set,
            batches,
            resize=self.resize,
            resolution=self.resolution,
            workers=self.workers,
        )
