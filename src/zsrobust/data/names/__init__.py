"""Class names: cleaning, the class-name file, and the names that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from zsrobust.data.text_file import read_text
from zsrobust.errors import RequestError


def clean_name(name: str) -> str:
    """``name`` in lower case, ``_ - /`` as spaces, white space collapsed: PMG-AFT's rule."""
    return " ".join(name.lower().translate(str.maketrans("_-/", "   ")).split())


def read_names(path: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """Class names from a class-name file, one for each of ``folders`` (C, sorted), in their order.

    The file is UTF-8. Either each line is a name, in the order of ``folders``, or each line is
    ``folder<TAB>name``, in any order. Names are used as written. Lines that start with ``#`` are
    comments.

    Raises:
        RequestError: if the file cannot be read, has an empty line, a repeated or unknown folder,
            two equal names (in any case), or not exactly one name a folder.
    """
    rows = name_rows(path)
    if rows and rows[0][1]:
        return _by_folder(path, rows, folders)
    if len(rows) != len(folders):
        raise RequestError(
            f"{path} holds {len(rows)} class names for {len(folders)} class folders: "
            "write one line a folder, in the folders' sorted order"
        )
    return tuple(name for *_, name in rows)


def name_rows(path: Path) -> list[tuple[int, str, str]]:
    """Line number, folder and name of each line of a class-name file; folders on all or none.

    The folder is empty where lines hold names alone.

    Raises:
        RequestError: if the file cannot be read, some lines have a folder and others none, a line
            is empty, or two names are equal (in any case).
    """
    rows = [_row(path, number, line) for number, line in _lines(path)]
    bare = [number for number, folder, _ in rows if not folder]
    if 0 < len(bare) < len(rows):
        raise RequestError(
            f"{path} line {bare[0]} has no tab, but others have: write a name on every line, "
            "or folder, tab and name on every line"
        )
    _refuse_equal_names(path, rows)
    return rows


def tiny_imagenet_names() -> dict[str, str]:
    """The cleaned names of TinyImageNet's 200 classes by WordNet id, such as ``n01443537``."""
    text = resources.files(__name__).joinpath("tiny_imagenet.txt").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return {wnid: clean_name(name) for wnid, name in rows}


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a UTF-8 file that are no comments, each with its number from 1."""
    text = read_text(path, "class-name file")
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line) for number, line in lines if not line.startswith("#")]


def _row(path: Path, number: int, line: str) -> tuple[int, str, str]:
    """Line number, folder (empty where the line has none) and name."""
    folder, _, name = line.rpartition("\t")
    folder, name = folder.strip(), name.strip()
    if not name or ("\t" in line and not folder):
        raise RequestError(f"{path} line {number} is empty or lacks a name: write one name a line")
    return number, folder, name


def _by_folder(
    path: Path, rows: Sequence[tuple[int, str, str]], folders: Sequence[str]
) -> tuple[str, ...]:
    known = set(folders)
    names: dict[str, str] = {}
    for number, folder, name in rows:
        if folder not in known:
            raise RequestError(
                f"{path} line {number} names the folder {folder!r}, which is not among the "
                f"{len(folders)} class folders: write a folder as it is spelled on disk"
            )
        if folder in names:
            raise RequestError(
                f"{path} line {number} names the folder {folder!r} again: write one line a folder"
            )
        names[folder] = name
    missing = [folder for folder in folders if folder not in names]
    if missing:
        raise RequestError(
            f"{path} lacks {len(missing)} of the {len(folders)} class folders, first "
            f"{missing[0]!r}: write one line a folder"
        )
    return tuple(names[folder] for folder in folders)


def _refuse_equal_names(path: Path, rows: Sequence[tuple[int, str, str]]) -> None:
    first: dict[str, int] = {}
    for number, _, name in rows:
        earlier = first.setdefault(name.lower(), number)
        if earlier != number:
            raise RequestError(
                f"{path} line {number} repeats the class name {name!r} of line {earlier}: "
                "give every class a name of its own"
            )
