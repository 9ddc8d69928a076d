"""A CSV file of image paths and labels."""

from __future__ import annotations

import csv
import posixpath
from dataclasses import dataclass
from pathlib import Path

from zsrobust.data.class_words import class_words
from zsrobust.data.image_set import ImageSet
from zsrobust.data.own_split import choose_split
from zsrobust.data.readers import FileReader
from zsrobust.data.specification import Specification
from zsrobust.errors import RequestError

LAYOUT = "a CSV file with the header path,label, or path,label,split, and paths relative to it"


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: str


def csv_set(asked: Specification, role: str) -> ImageSet:
    """The images that the file ``asked.place`` lists, in its order.

    The file is UTF-8 with a header; columns other than ``path``, ``label`` and ``split`` are left
    alone. Labels are as ``class_words`` takes them; classes are those of the whole file, whatever
    the split.

    Raises:
        RequestError: with the line, if the file is not as above, names an image that is not there
            or names one twice.
    """
    listing = Path(asked.place).expanduser()
    rows = _rows(listing)
    words = class_words((row.label for row in rows), asked.names, str(listing))
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
        # The mark that some spreadsheets write before the header is no part of it.
        with listing.open(encoding="utf-8-sig", newline="") as file:
            return _read(listing, csv.reader(file, strict=True))
    except UnicodeDecodeError:
        raise RequestError(f"{listing} is not UTF-8: save it as UTF-8") from None
    except OSError as reason:
        raise RequestError(f"cannot read {listing} ({reason.strerror}): give {LAYOUT}") from None


def _read(listing: Path, reader: csv._reader) -> list[_Row]:  # type: ignore[name-defined]
    rows: list[_Row] = []
    first_line: dict[str, int] = {}
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in ("path", "label"):
            if header.count(name) != 1:
                raise RequestError(f"{listing} line 1 must be a header: give {LAYOUT}")
        for fields in reader:
            line = reader.line_num
            if not fields:
                continue
            if len(fields) != len(header):
                raise RequestError(
                    f"{listing} line {line} has {len(fields)} fields and the header "
                    f"{len(header)}: put fields that hold commas in quotes"
                )
            found = dict(zip(header, fields, strict=True))
            path, label = found["path"].strip(), found["label"].strip()
            if not (path and label) or "\0" in path:
                raise RequestError(f"{listing} line {line} lacks its path or label")
            earlier = first_line.setdefault(posixpath.normpath(path), line)
            if earlier != line:
                raise RequestError(
                    f"{listing} line {line} lists {path} again, after line {earlier}: "
                    "list each image once"
                )
            rows.append(_Row(line, path, label, found.get("split", "").strip()))
    except csv.Error as reason:
        raise RequestError(f"{listing} line {reader.line_num} is no CSV: {reason}") from None
    if not rows:
        raise RequestError(f"{listing} lists no images: give {LAYOUT}")
    unsplit = [row.line for row in rows if not row.split]
    if 0 < len(unsplit) < len(rows):
        raise RequestError(f"{listing} line {unsplit[0]} has no split, but others have: name it")
    return rows


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
            + ": paths are relative to the CSV file"
        )
