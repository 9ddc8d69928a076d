"""``zsrobust data list | prepare NAME | verify NAME | shard SPEC``: sets on this machine."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from zsrobust.cli.data_shard import add_options, shard
from zsrobust.config.word_parser import WordParser
from zsrobust.data.published.check import Verdict, file_verdicts, split_verdict, splits_to_check
from zsrobust.data.published.prepare import prepare
from zsrobust.data.published.published_set import PublishedSet
from zsrobust.data.published.table import TABLE
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.files import as_argument, local_path
from zsrobust.utils.progress import Steps

Show = Callable[[str | Table], None]

USAGE = """\
usage: zsrobust data list [--root ROOT]
       zsrobust data prepare NAME [--root ROOT] [--split SPLIT]
       zsrobust data verify NAME [--root ROOT]
       zsrobust data shard SPEC --out DIR [--shard-size N] [--on_unreadable skip]

  list      the published sets: size, licence, and whether they are below ROOT
  prepare   download a set into ROOT/NAME, or say how to get it
  verify    count its images and classes, read every image, compare checksums
  shard     write any set that --data takes as shards of N images (1000), to stream from

ROOT is $ZSROBUST_DATA, else ./data. A set in ROOT/NAME is --data NAME:ROOT/NAME, and all of the
paper's sixteen are --data paper16:ROOT. Each takes --json (figures for machines)."""


def data(words: Sequence[str], show: Show, figures: Callable[[dict[str, Any]], None]) -> None:
    """Run one of them; ``show`` prints a line or a table, ``figures`` takes those for machines.

    Raises:
        RequestError: if the words are wrong, or the set is not there or cannot be downloaded.
        RunError: if a download fails, or a set is not whole.
    """
    if words[:1] == ["--help"]:
        sys.stdout.write(f"{USAGE}\n")
        return
    if not words:
        raise RequestError(f"name what to do with data: {', '.join(_COMMANDS)}")
    command, *rest = words
    if command not in _COMMANDS:
        raise RequestError(f"there is no command data {command!r}: choose {', '.join(_COMMANDS)}")
    found = _COMMANDS[command](data_parsers()[command].parse_args(rest), show)
    figures(found)
    if found.get("whole") is False:
        raise RunError(
            f"{found['name']} in {found['folder']} is not whole, see above: delete it and prepare "
            "it again, or use it as it is, knowing that its numbers are of a part"
        )


def data_parsers() -> dict[str, WordParser]:
    """The options of each of them."""
    parsers = {name: WordParser(prog=f"zsrobust data {name}", add_help=False) for name in _COMMANDS}
    for name in ("prepare", "verify"):
        parsers[name].add_argument("name")
    parsers["prepare"].add_argument("--split")
    default = os.environ.get("ZSROBUST_DATA", "data")
    for name in ("list", "prepare", "verify"):
        parsers[name].add_argument("--root", default=default, type=local_path)
    add_options(parsers["shard"])
    return parsers


def list_sets(given: argparse.Namespace, show: Show) -> dict[str, Any]:
    """A row a set."""
    root = given.root
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
    return {"root": str(root), "sets": [_figures(known, root) for known in TABLE.values()]}


def _figures(known: PublishedSet, root: Path) -> dict[str, Any]:
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


def prepare_set(given: argparse.Namespace, show: Show) -> dict[str, Any]:
    """Download one set."""
    known = _known(given.name)
    there = known.below(given.root)
    if there and given.split in (None, known.test):
        show(f"{known.kind} is in {there}\nnext: {_verify(given)}")
        return {"name": known.kind, "folder": there, "downloaded": False}
    folder = prepare(known, given.root, given.split)
    show(f"{known.kind} is in {folder}\nnext: {_verify(given)}")
    return {"name": known.kind, "folder": folder, "downloaded": True}


def _verify(given: argparse.Namespace) -> str:
    """The command that checks the set that was prepared."""
    root = as_argument(given.root)
    return shlex.join(["zsrobust", "data", "verify", given.name, "--root", root])


def verify_set(given: argparse.Namespace, show: Show) -> dict[str, Any]:
    """Check one set, a line a split and file."""
    known = _known(given.name)
    folder = known.below(given.root)
    if folder is None:
        raise RequestError(
            f"{known.kind} is not below {given.root}: {given.root / known.kind} must hold "
            f"{known.layout}"
        )
    verdicts = []
    for split in splits_to_check(known):
        verdicts.append(found := _verdict(known, folder, split))
        show(f"{known.kind}/{found.subject}: {found.text}")
    for found in file_verdicts(known, given.root / known.kind):
        verdicts.append(found)
        show(f"{found.subject}: {found.text}")
    whole = all(found.whole for found in verdicts)
    if whole:
        show(f"{known.kind} in {folder} is whole")
    return {"name": known.kind, "folder": folder, "whole": whole, "checked": verdicts}


def _verdict(known: PublishedSet, folder: Path, split: str) -> Verdict:
    with Steps(f"reading {known.kind}/{split}", known.counts[split]) as steps:
        return split_verdict(known, folder, split, lambda done, _: steps.advance(done - steps.done))


_COMMANDS: dict[str, Callable[[argparse.Namespace, Show], dict[str, Any]]] = {
    "list": list_sets,
    "prepare": prepare_set,
    "verify": verify_set,
    "shard": shard,
}


def _known(name: str) -> PublishedSet:
    if name not in TABLE:
        raise RequestError(f"there is no published set {name!r}: choose {', '.join(TABLE)}")
    return TABLE[name]
