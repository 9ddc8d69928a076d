"""``zsrobust data list | prepare NAME | verify NAME | shard SPEC``: sets on this machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.table import Table

from zsrobust.data.published.check import Verdict, file_verdicts, split_verdict, splits_to_check
from zsrobust.data.published.prepare import prepare
from zsrobust.data.published.published_set import PublishedSet
from zsrobust.data.published.table import TABLE
from zsrobust.data_shard import shard
from zsrobust.errors import RequestError, RunError
from zsrobust.progress import Steps

USAGE = """\
usage: zsrobust data list [--root ROOT]
       zsrobust data prepare NAME [--root ROOT] [--split SPLIT]
       zsrobust data verify NAME [--root ROOT]
       zsrobust data shard SPEC --out DIR [--shard-size N]

  list      the published sets: size, licence, and whether they are below ROOT
  prepare   download a set into ROOT/NAME, or say how to get it
  verify    count its images and classes, read every image, compare checksums
  shard     write any set that --data takes as shards of N images (1000), to stream from

ROOT is $ZSROBUST_DATA, else ./data. A set in ROOT/NAME is --data NAME:ROOT/NAME, and all of the
paper's sixteen are --data paper16:ROOT."""


def data(words: Sequence[str], show: Callable[[str | Table], None]) -> None:
    """Run one of them; ``show`` prints a line or a table.

    Raises:
        RequestError: if the words are wrong, or the set is not there or cannot be downloaded.
        RunError: if a download fails, or a set is not whole.
    """
    if not words or {"--help", "-h"} & set(words):
        show(USAGE)
        return
    command, *rest = words
    if command not in _COMMANDS:
        raise RequestError(f"there is no command data {command!r}: choose {', '.join(_COMMANDS)}")
    _COMMANDS[command](rest, show)


def list_sets(words: Sequence[str], show: Callable[[str | Table], None]) -> None:
    """A row a set."""
    root = _parsed("list", words).root
    table = Table(title=f"published sets, looked for below {root}", box=None)
    for heading in ("set", "split", "n", "classes", "px", "GB", "licence", "here"):
        table.add_column(heading, justify="right" if heading in ("n", "classes", "GB") else "left")
    for known in TABLE.values():
        table.add_row(
            known.kind,
            known.test,
            f"{known.counts[known.test]:,}",
            str(known.classes),
            str(known.native or "model's"),
            "" if known.gigabytes is None else f"{known.gigabytes:g}",
            known.licence + (" (account)" if known.account else ""),
            "yes" if known.below(root) else "no",
        )
    show(table)


def prepare_set(words: Sequence[str], show: Callable[[str | Table], None]) -> None:
    """Download one set."""
    given = _parsed("prepare", words, name=True)
    known = _known(given.name)
    there = known.below(given.root)
    if there and given.split in (None, known.test):
        show(f"{known.kind} is in {there}; zsrobust data verify {known.kind} checks it")
        return
    folder = prepare(known, given.root, given.split)
    show(f"{known.kind} is in {folder}\nnext: zsrobust evaluate --data {known.kind}:{folder} ...")


def verify_set(words: Sequence[str], show: Callable[[str | Table], None]) -> None:
    """Check one set, a line a split and file."""
    given = _parsed("verify", words, name=True)
    known = _known(given.name)
    folder = known.below(given.root)
    if folder is None:
        raise RequestError(
            f"{known.kind} is not below {given.root}: {given.root / known.kind} must hold "
            f"{known.layout}"
        )
    bad = 0
    for split in splits_to_check(known):
        found = _verdict(known, folder, split)
        show(f"{known.kind}/{found.subject}: {found.text}")
        bad += not found.whole
    for found in file_verdicts(known, given.root / known.kind):
        show(f"{found.subject}: {found.text}")
        bad += not found.whole
    if bad:
        raise RunError(
            f"{known.kind} in {folder} is not whole, see above: delete it and prepare it again, or "
            "use it as it is, knowing that its numbers are of a part"
        )
    show(f"{known.kind} in {folder} is whole")


def _verdict(known: PublishedSet, folder: Path, split: str) -> Verdict:
    with Steps(f"reading {known.kind}/{split}", known.counts[split]) as steps:
        return split_verdict(known, folder, split, lambda done, _: steps.advance(done - steps.done))


_COMMANDS: dict[str, Callable[[Sequence[str], Callable[[str | Table], None]], None]] = {
    "list": list_sets,
    "prepare": prepare_set,
    "verify": verify_set,
    "shard": lambda words, show: shard(_Parser("zsrobust data shard", add_help=False), words, show),
}


class _Parser(argparse.ArgumentParser):
    """A parser that raises where argparse prints and exits."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{self.prog}: {message}")


def _parsed(command: str, words: Sequence[str], *, name: bool = False) -> argparse.Namespace:
    parser = _Parser(prog=f"zsrobust data {command}", add_help=False)
    if name:
        parser.add_argument("name")
    if command == "prepare":
        parser.add_argument("--split")
    default = os.environ.get("ZSROBUST_DATA", "data")
    parser.add_argument("--root", default=default, type=lambda text: Path(text).expanduser())
    return parser.parse_args(list(words))


def _known(name: str) -> PublishedSet:
    if name not in TABLE:
        raise RequestError(f"there is no published set {name!r}: choose {', '.join(TABLE)}")
    return TABLE[name]
