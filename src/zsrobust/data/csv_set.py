"""A CSV file of image paths and labels."""

from __future__ import annotations

import posixpath
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from zsrobust.data.class_words import class_words
from zsrobust.data.csv_table import read_table
from zsrobust.data.image_set import ImageSet
from zsrobust.data.own_split import choose_split
from zsrobust.data.readers import FileReader
from zsrobust.data.specification import Specification
from zsrobust.utils.errors import RequestError

LAYOUT = "a CSV file with the header path,label, or path,label,split, and paths relative to it"

# How programs write that there is no value; a class may well be called "none".
_NO_VALUES = frozenset({"nan", "<na>", "#n/a", "n/a", "#ref!", "#value!", "#name?", "#div/0!"})


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: str


def csv_set(asked: Specification, role: str) -> ImageSet:
    """The images that the file ``asked.place`` lists, in its order.

    The file is as ``read_table`` reads it; columns other than ``path``, ``label`` and ``split``
    are left alone. Backslashes separate folders where no file is called so. Labels are as
    ``class_words`` takes them; classes are those of the whole file, whatever the split.

    Raises:
        RequestError: with the line, if the file is not as above, names an image that is not there
            or names one twice, or a label is missing.
    """
    listing = Path(asked.place).expanduser()
    rows = _rows(listing)
    words = class_words((row.label for row in rows), asked.names, str(listing))
    if not asked.names:
        _refuse_no_values(listing, rows)
    labels = {row.line: words.label(row.label, f"{listing} line {row.line}") for row in rows}
    has_splits = any(row.split for row in rows)
    split = "all"
    if has_splits or asked.split:
        split = choose_split(asked, role, sorted({row.split for row in rows}) if has_splits else [])
    chosen = [row for row in rows if split in ("all", row.split)]
    root = listing.parent
    _refuse_missing(listing, root, chosen)
    paths = tuple(row.path for row in chosen)
    return ImageSet(
        name=listing.stem,
        split=split,
        class_names=words.names,
        sample_ids=paths,
        labels=tuple(labels[row.line] for row in chosen),
        read_image=FileReader(root, paths),
        root=root,
        origin=str(listing.resolve()),
        notes=words.notes,
    )


def _rows(listing: Path) -> list[_Row]:
    if listing.exists() and not (listing.is_file() or listing.is_dir()):
        raise RequestError(f"{listing} is no file: give {LAYOUT}")
    try:
        return _read(listing)
    except OSError as reason:
        raise RequestError(f"cannot read {listing} ({reason.strerror}): give {LAYOUT}") from None


def _read(listing: Path) -> list[_Row]:
    rows: list[_Row] = []
    first_line: dict[str, int] = {}
    for found in read_table(listing, ("path", "label"), ("split",)):
        path, label = found.fields["path"], found.fields["label"]
        if not (path and label) or "\0" in path:
            raise RequestError(f"{listing} line {found.line} lacks its path or label")
        if "\\" in path:
            path = _with_slashes(listing.parent, path)
        earlier = first_line.setdefault(posixpath.normpath(path), found.line)
        if earlier != found.line:
            raise RequestError(
                f"{listing} line {found.line} lists {path} again, after line {earlier}: "
                "list each image once"
            )
        rows.append(_Row(found.line, path, label, found.fields.get("split", "")))
    if not rows:
        raise RequestError(f"{listing} lists no images: give {LAYOUT}")
    unsplit = [row.line for row in rows if not row.split]
    if 0 < len(unsplit) < len(rows):
        raise RequestError(f"{listing} line {unsplit[0]} has no split, but others have: name it")
    return rows


def _with_slashes(root: Path, path: str) -> str:
    """A path as Windows writes it in posix form, unless a file has a backslash in its name."""
    windows = PureWindowsPath(path)
    return path if windows.drive or _is_there(root / path) else windows.as_posix()


def _refuse_no_values(listing: Path, rows: list[_Row]) -> None:
    for row in rows:
        if row.label.lower() in _NO_VALUES:
            raise RequestError(
                f"{listing} line {row.line} has the label {row.label!r}, which stands for none: "
                "write one, or leave the line out"
            )


def _is_there(image: Path) -> bool:
    try:
        return image.is_file()
    # A name longer than the file system allows, or a folder that may not be looked into.
    except OSError:
        return False


def _refuse_missing(listing: Path, root: Path, rows: list[_Row]) -> None:
    missing = [row for row in rows if not _is_there(root / row.path)]
    if missing:
        raise RequestError(
            f"{listing} line {missing[0].line} names {root / missing[0].path}, which is not there"
            + (f", and so do {len(missing) - 1} more lines" if missing[1:] else "")
            + f": {_advice(root, missing[0].path)}"
        )


def _advice(root: Path, path: str) -> str:
    """What to do about a path at which there is no file."""
    advice = "paths are relative to the CSV file"
    if "://" in path:
        return f"an address is no path: download the images; {advice}"
    if PureWindowsPath(path).drive:
        return f"{advice}, without a drive"
    wanted = _folded((root / path).name)
    try:
        if (root / path).is_dir():
            return "that is a folder: list the images in it, one a line"
        beside = sorted(entry.name for entry in (root / path).parent.iterdir())
    except OSError:
        return advice
    alike = [name for name in beside if wanted in (_folded(name), _folded(Path(name).stem))]
    return f"{advice}, and {alike[0]!r} is there" if alike else advice


def _folded(name: str) -> str:
    """``name`` without what differs between systems: case, and how accents are stored."""
    return unicodedata.normalize("NFC", name).casefold()
