"""Blocks that the coming batches need are fetched while earlier batches are computed on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from zsrobust.data.image_set import ImageSet
from zsrobust.utils.errors import RunError

# Blocks fetched at a time, and how many are asked for before they are needed.
AHEAD = 2


def fetched_ahead(image_set: ImageSet, index_batches: Iterable[list[int]]) -> Iterable[list[int]]:
    """The same batches; going through them fetches the blocks that those after them need."""
    if image_set.fetch_block is None:
        return index_batches
    return _Ahead(image_set, list(index_batches))


class _Ahead:
    """Batches that may be gone through once or more, as a sampler is."""

    def __init__(self, image_set: ImageSet, batches: list[list[int]]) -> None:
        self.image_set, self.batches = image_set, batches

    def __iter__(self) -> Iterator[list[int]]:
        blocks = self.image_set.blocks
        new = [list(dict.fromkeys(blocks[index] for index in batch)) for batch in self.batches]
        coming = list(dict.fromkeys(block for batch in new for block in batch))
        needed: set[int] = set()
        asked = 0
        # The threads start here, when the loader has made its processes: none is forked with them.
        pool, to_the_end = ThreadPoolExecutor(AHEAD), False
        try:
            for batch, its_blocks in zip(self.batches, new, strict=True):
                needed.update(its_blocks)
                while asked < min(len(needed) + AHEAD, len(coming)):
                    pool.submit(self._fetch, coming[asked])
                    asked += 1
                yield batch
            to_the_end = True
        finally:
            # A loader asks for its last batches early: what they need is still fetched.
            pool.shutdown(wait=False, cancel_futures=not to_the_end)

    def _fetch(self, block: int) -> None:
        assert self.image_set.fetch_block is not None
        # Whoever reads the block next meets the same failure, and can say which image it was.
        with contextlib.suppress(RunError):
            self.image_set.fetch_block(block)
