"""Which samples form each training step: the same on every machine, whatever the number of ranks.

A global batch is drawn first and sharded after, so that more processes change nothing but time.
"""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.data.split import keyed_draw, keyed_order
from zsrobust.utils.errors import RequestError

# Blocks that are drawn from at a time, where samples come a block at a time.
WINDOW = 8


def steps_per_epoch(n: int, batch_size: int, *, drop_last: bool = True) -> int:
    """How many batches of ``batch_size`` the ``n`` samples give; an incomplete one counts or not.

    Raises:
        RequestError: if there is not one full batch, or ``batch_size`` is below 1.
    """
    if not 1 <= batch_size <= n:
        raise RequestError(
            f"batch size {batch_size} does not fit {n} training images: "
            f"choose a batch size from 1 to {n}"
        )
    return n // batch_size if drop_last else -(-n // batch_size)


def epoch_batches(
    sample_ids: Sequence[str],
    batch_size: int,
    seed: int,
    epoch: int,
    blocks: Sequence[int] = (),
    *,
    drop_last: bool = True,
) -> list[list[int]]:
    """The epoch's global batches of indices, shuffled; an incomplete last one is dropped or not.

    Where ``blocks`` gives each sample's block, the order is ``windowed_order``.

    Raises:
        RequestError: as ``steps_per_epoch``.
    """
    steps = steps_per_epoch(len(sample_ids), batch_size, drop_last=drop_last)
    purpose = f"epoch {epoch}"
    if blocks:
        order = windowed_order(sample_ids, blocks, seed, purpose)
    else:
        order = keyed_order(sample_ids, seed, purpose)
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def windowed_order(
    sample_ids: Sequence[str], blocks: Sequence[int], seed: int, purpose: str, window: int = WINDOW
) -> list[int]:
    """The indices in an order of (seed, purpose) in which each block is in use only for a while.

    The blocks are shuffled, and the sample with the random number u in [0, 1) of the block at
    place r is moved to r + window * u. So each block begins when another ends, samples of
    ``window`` of them are mixed at any time, and no more than ``window`` are needed at once.
    """
    distinct = sorted(set(blocks))
    shuffled = keyed_order([f"block {block}" for block in distinct], seed, purpose)
    place = {distinct[index]: at for at, index in enumerate(shuffled)}

    def key(index: int) -> tuple[float, str]:
        drawn = keyed_draw(sample_ids[index], seed, purpose)
        unit = int.from_bytes(drawn, "big") / (1 << 64)
        return place[blocks[index]] + window * unit, sample_ids[index]

    return sorted(range(len(sample_ids)), key=key)


def shard(batch: Sequence[int], rank: int, world_size: int) -> list[int]:
    """The part of a global batch that process ``rank`` of ``world_size`` computes."""
    return list(batch[rank::world_size])
