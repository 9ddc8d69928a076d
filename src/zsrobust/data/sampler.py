"""Which samples form each training step: the same on every machine, whatever the number of ranks.

A global batch is drawn first and shared out after, so that more processes change nothing but time.
"""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.data.split import keyed_order
from zsrobust.errors import RequestError


def steps_per_epoch(n: int, batch_size: int) -> int:
    """How many full batches of ``batch_size`` the ``n`` samples give.

    Raises:
        RequestError: if there is not one full batch, or ``batch_size`` is below 1.
    """
    if not 1 <= batch_size <= n:
        raise RequestError(
            f"batch size {batch_size} does not fit {n} training images: "
            f"choose a batch size from 1 to {n}"
        )
    return n // batch_size


def epoch_batches(
    sample_ids: Sequence[str], batch_size: int, seed: int, epoch: int
) -> list[list[int]]:
    """The epoch's global batches of indices, shuffled; a last partial batch is dropped.

    Raises:
        RequestError: as ``steps_per_epoch``.
    """
    steps = steps_per_epoch(len(sample_ids), batch_size)
    order = keyed_order(sample_ids, seed, f"epoch {epoch}")
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def shard(batch: Sequence[int], rank: int, world: int) -> list[int]:
    """The part of a global batch that process ``rank`` of ``world`` computes."""
    return list(batch[rank::world])
