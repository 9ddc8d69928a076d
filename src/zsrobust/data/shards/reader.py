"""Images out of shards, any of them at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from zsrobust.data.readers import decoded
from zsrobust.data.shards.contents import Rows, Shard
from zsrobust.data.shards.places import is_remote
from zsrobust.data.shards.shard_cache import local_copy

_ATTEMPTS = 3

Column = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, eq=False)
class ShardReader:
    """Reads the image at each row from its place in a tar file.

    Attributes:
        places: path or URL of each shard.
        shards: what each is.
        shard, offset, size: of each image: its shard's number, and its bytes there.
    """

    places: Sequence[str]
    shards: Sequence[Shard]
    shard: Column
    offset: Column
    size: Column

    @classmethod
    def of(cls, places: Sequence[str], shards: Sequence[Shard], rows: Rows) -> ShardReader:
        """The reader of ``rows``."""
        columns = (np.array(column, np.int64) for column in (rows.shard, rows.offset, rows.size))
        return cls(places, shards, *columns)

    def __call__(self, index: int) -> Image.Image:
        """The image as stored."""
        return decoded(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """The image's bytes."""
        number, size = int(self.shard[index]), int(self.size[index])
        for _ in range(_ATTEMPTS):
            # Between being found and opened, a copy may make room for another.
            try:
                with self.local(number).open("rb") as file:
                    file.seek(int(self.offset[index]))
                    content = file.read(size)
                break
            except FileNotFoundError as reason:
                missing = reason
        else:
            raise missing
        if len(content) < size:
            raise ValueError(f"{self.places[number]} is cut short")
        return content

    def local(self, number: int) -> Path:
        """The path of the shard of that number, fetched where it is behind a URL."""
        place = self.places[number]
        return local_copy(place, self.shards[number]) if is_remote(place) else Path(place)
