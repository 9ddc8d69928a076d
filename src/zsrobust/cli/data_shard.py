"""``zsrobust data shard SPEC --out DIR``: any image set as shards that stream."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable
from typing import Any

from zsrobust.data.open_readable import open_readable
from zsrobust.utils.files import local_path
from zsrobust.utils.progress import Steps

SAMPLES_A_SHARD = 1000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``zsrobust data shard``."""
    parser.add_argument("spec")
    parser.add_argument("--out", required=True, type=local_path)
    parser.add_argument("--shard-size", default=SAMPLES_A_SHARD, type=int)
    parser.add_argument("--on_unreadable", default="stop", choices=("stop", "skip"))


def shard(given: argparse.Namespace, show: Callable[[str], None]) -> dict[str, Any]:
    """Write the set that ``given`` names; ``show`` prints a line. Figures for machines come back.

    Raises:
        RequestError: if the set cannot be read, or the folder is not new.
        RunError: if the disk is full.
    """
    from zsrobust.data.shards.write import refuse, write_shards

    refuse(given.out, given.shard_size)
    images = open_readable(given.spec, "train", given.on_unreadable)
    with Steps(f"writing {given.out}", len(images)) as steps:
        index = write_shards(
            images, given.out, given.shard_size, lambda done: steps.advance(done - steps.done)
        )
    size = sum(shard.bytes for shard in index.shards)
    show(
        f"{len(images):,} images of {index.name}/{index.split} are in {len(index.shards)} shards, "
        f"{size / 1e6:,.1f} MB, in {given.out}\nthey are --data "
        f"{shlex.quote(f'webdataset:{given.out}')}; from a server, give the folder's URL instead"
    )
    return {
        "folder": str(given.out),
        "name": index.name,
        "split": index.split,
        "n": len(images),
        "shards": len(index.shards),
        "bytes": size,
    }
