"""List, download and verify published data sets, and write any data set as shards.

A set in ROOT/NAME is --data NAME:ROOT/NAME, and all of the paper's sixteen are --data paper16:ROOT.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.data.published.prepare import prepare
from zsrobust.data.published.sets import PublishedSet, published_sets
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import as_argument, local_path, require_room
from zsrobust.utils.progress import Steps
from zsrobust.utils.validation import unknown

if TYPE_CHECKING:
    from zsrobust.data.verify_published import Verdict

SAMPLES_A_SHARD = 1000


def parsers() -> list[Parser]:
    """One, with a subcommand for each thing to do."""
    parser = Parser(
        prog="zsrobust data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    below = parser.add_subparsers(metavar="SUBCOMMAND", required=True, dest="subcommand")

    def add(name: str, do: Callable[[argparse.Namespace, Output], None], what: str) -> Parser:
        added = below.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        added.set_defaults(do=do)
        return added

    listing = add(
        "list", list_sets, "list the published data sets: size, licence, and which are in ROOT"
    )
    preparing = add(
        "prepare", prepare_set, "download a data set into ROOT/NAME, or print how to get it"
    )
    verifying = add(
        "verify", verify_set, "check counts, checksums, and that every image can be read"
    )
    sharding = add("shard", shard, "write any data set as WebDataset shards")
    for one in (preparing, verifying):
        one.add_argument("name", metavar="NAME", help="published data set, see zsrobust data list")
    preparing.add_argument("--split", help="split to download (the one used in evaluation)")
    root = os.environ.get("ZSROBUST_DATA", "data")
    for one in (listing, preparing, verifying):
        one.add_argument(
            "--root",
            default=root,
            type=local_path,
            metavar="ROOT",
            help="folder of the data sets ($ZSROBUST_DATA, else ./data)",
        )
    sharding.add_argument("spec", metavar="SPEC", help="data set, anything that --data takes")
    sharding.add_argument(
        "--out", required=True, type=local_path, metavar="DIR", help="output folder"
    )
    sharding.add_argument(
        "--shard-size",
        default=SAMPLES_A_SHARD,
        type=int,
        metavar="N",
        help=f"images per shard ({SAMPLES_A_SHARD})",
    )
    sharding.add_argument(
        "--on_unreadable",
        default="stop",
        choices=("stop", "skip"),
        help="stop at an unreadable image, or skip it",
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Run one of the subcommands."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    args.do(args, output)


def list_sets(args: argparse.Namespace, output: Output) -> None:
    """A row a set."""
    root = args.root
    sets = published_sets().values()
    columns = {
        "set": [known.kind for known in sets],
        "split": [known.test for known in sets],
        "n": [f"{known.counts[known.test]:,}" for known in sets],
        "classes": [str(known.classes) for known in sets],
        "px": [str(known.native or "model's") for known in sets],
        "GB": ["" if known.gigabytes is None else f"{known.gigabytes:g}" for known in sets],
        "licence": [known.licence + (" (account)" if known.account else "") for known in sets],
        "found": ["yes" if known.below(root) else "no" for known in sets],
    }
    output.show(f"published data sets, below {root}")
    output.show_list(columns, figures=("n", "classes", "GB"), drop=("licence", "px", "split"))
    output.result({"root": root, "sets": [_described(known, root) for known in sets]})


def _described(known: PublishedSet, root: Path) -> dict[str, Any]:
    """What the list says of a set; sizes in gigabytes, null where it is not known."""
    return {
        "name": known.kind,
        "split": known.test,
        "n": known.counts[known.test],
        "classes": known.classes,
        "px": known.native,
        "gigabytes": known.gigabytes,
        "licence": known.licence,
        "account": known.account,
        "folder": known.below(root),
    }


def prepare_set(args: argparse.Namespace, output: Output) -> None:
    """Download one set."""
    known = _known(args.name)
    folder = known.below(args.root)
    found = folder is not None and args.split in (None, known.test)
    if not found:
        folder = prepare(known, args.root, args.split)
    root = as_argument(args.root)
    verify = shlex.join(["zsrobust", "data", "verify", args.name, "--root", root])
    output.show(f"{known.kind} is in {folder}\nnext: {verify}")
    output.result({"name": known.kind, "folder": folder, "downloaded": not found})


def verify_set(args: argparse.Namespace, output: Output) -> None:
    """Check one set, a line a split and file."""
    from zsrobust.data.verify_published import file_verdicts, splits_to_check

    known = _known(args.name)
    folder = known.below(args.root)
    if folder is None:
        raise RequestError(
            f"{known.kind} is not below {args.root}: {args.root / known.kind} must hold "
            f"{known.layout}"
        )
    verdicts = []
    for split in splits_to_check(known):
        verdicts.append(found := _verdict(known, folder, split))
        output.show(f"{known.kind}/{found.subject}: {found.text}")
    for found in file_verdicts(known, args.root / known.kind):
        verdicts.append(found)
        output.show(f"{found.subject}: {found.text}")
    whole = all(found.whole for found in verdicts)
    if whole:
        output.show(f"{known.kind} in {folder} is complete")
    output.result({"name": known.kind, "folder": folder, "whole": whole, "checked": verdicts})
    if not whole:
        raise RunError(
            f"{known.kind} in {folder} is incomplete, see above: delete it and run zsrobust data "
            "prepare again; accuracies on it are not those of the full set"
        )


def _verdict(known: PublishedSet, folder: Path, split: str) -> Verdict:
    from zsrobust.data.verify_published import split_verdict

    with Steps(f"reading {known.kind}/{split}", known.counts[split]) as steps:
        return split_verdict(known, folder, split, lambda done, _: steps.advance(done - steps.done))


def shard(args: argparse.Namespace, output: Output) -> None:
    """Write any image set as shards.

    Raises:
        RequestError: if the set cannot be read, the folder is not new, or the disk has no room.
        RunError: if the disk is full.
    """
    from zsrobust.data.registry import opening
    from zsrobust.data.shards.write import expected_bytes, refuse, write_shards
    from zsrobust.data.verify import open_readable

    refuse(args.out, args.shard_size)
    # Reading all images takes long. One that cannot be read is told then, with all others.
    with contextlib.suppress(RunError):
        needed = expected_bytes(opening(args.spec, "train")())
        require_room(args.out, needed, "the shards")
    images = open_readable(args.spec, "train", args.on_unreadable)
    with Steps(f"writing {args.out}", len(images)) as steps:
        index = write_shards(
            images, args.out, args.shard_size, lambda done: steps.advance(done - steps.done)
        )
    size = sum(shard.bytes for shard in index.shards)
    output.show(
        f"{len(images):,} images of {index.name}/{index.split} are in {len(index.shards)} shards, "
        f"{size / 1e6:,.1f} MB, in {args.out}\nuse --data "
        f"{shlex.quote(f'webdataset:{args.out}')}, or the folder's URL on a server"
    )
    output.result(
        {
            "folder": args.out,
            "name": index.name,
            "split": index.split,
            "n": len(images),
            "shards": len(index.shards),
            "bytes": size,
        }
    )


def _known(name: str) -> PublishedSet:
    sets = published_sets()
    if name not in sets:
        raise RequestError(unknown("published set", name, sets))
    return sets[name]
