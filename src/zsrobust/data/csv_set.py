"""A CSV file of image paths and labels.

``datasets.load_dataset("csv")`` was tried: its errors have no line, it reads ``nan`` as a missing
field, turns whole numbers with a gap among them into floats, knows one delimiter and one
encoding, and copies the table into a cache of its own. So Python's ``csv`` reads it here.
"""

from __future__ import annotations

import codecs
import csv
import io
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from zsrobust.data.class_labels import class_labels
from zsrobust.data.image_set import ImageSet
from zsrobust.data.readers import FileReader
from zsrobust.data.specification import Specification, choose_split
from zsrobust.utils.errors import RequestError

LAYOUT = "a CSV file with the header path,label, or path,label,split, and paths relative to it"

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Excel's own first line, which names the delimiter.
_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t ]*[\r\n]+', re.IGNORECASE)
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed",
    b"PAR1": "a Parquet file",
}

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

    The file is as ``_read_table`` reads it; columns other than ``path``, ``label`` and ``split``
    are left alone. Backslashes separate folders where no file is called so. Labels are as
    ``class_labels`` takes them; classes are those of the whole file, whatever the split.

    Raises:
        RequestError: with the line, if the file is not as above, names an image that is not there
            or names one twice, or a label is missing.
    """
    listing = Path(asked.place).expanduser()
    rows = _rows(listing)
    classes = class_labels((row.label for row in rows), asked.names, str(listing))
    if not asked.names:
        _refuse_no_values(listing, rows)
    labels = {row.line: classes.label(row.label, f"{listing} line {row.line}") for row in rows}
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
        class_names=classes.names,
        sample_ids=paths,
        labels=tuple(labels[row.line] for row in chosen),
        read_image=FileReader(root, paths),
        root=root,
        origin=str(listing.resolve()),
        notes=classes.notes,
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
    for found in _read_table(listing, ("path", "label"), ("split",)):
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
                f"{listing} line {row.line} has the label {row.label!r}, which is a missing "
                "value: write one, or leave the line out"
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
        siblings = sorted(entry.name for entry in (root / path).parent.iterdir())
    except OSError:
        return advice
    similar = [name for name in siblings if wanted in (_folded(name), _folded(Path(name).stem))]
    return f"{advice}, and {similar[0]!r} is there" if similar else advice


def _folded(name: str) -> str:
    """``name`` without what differs between systems: case, and how accents are stored."""
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True)
class _Fields:
    """One row: the number of its line, and the text of each column asked for, '' where none is."""

    line: int
    fields: dict[str, str]


def _read_table(listing: Path, needed: Sequence[str], optional: Sequence[str]) -> Iterator[_Fields]:
    """The rows of a CSV file that are not blank, with the columns ``needed`` and ``optional``.

    Fields are separated by commas, semicolons, tabs or bars, whichever the header has ``needed``
    with, in any case where only one column is called so. Text is UTF-8, or UTF-16 with its mark.

    Raises:
        RequestError: with the line, if it is not such a file, or a row has other fields than the
            header.
    """
    text = _text(listing)
    separator = _SEPARATOR.match(text)
    begin = separator.end() if separator else 0
    above = text[:begin].count("\n")
    allowed = [separator[1]] if separator else list(_DELIMITERS)
    readers = {delimiter: _reader(text[begin:], delimiter) for delimiter in allowed}
    headers = {delimiter: _header(reader) for delimiter, reader in readers.items()}
    for delimiter, header in headers.items():
        columns = {name: _column(header, name) for name in (*needed, *optional)}
        if all(columns[name] is not None for name in needed):
            places = {name: place for name, place in columns.items() if place is not None}
            return _table_rows(listing, readers[delimiter], delimiter, len(header), places, above)
    found = max(headers.values(), key=len)
    columns_found = ", ".join(map(repr, found))[:200] or "empty"
    if len(found) == 1 and any(delimiter in found[0] for delimiter in allowed):
        columns_found += ", one field in quotes"
    raise RequestError(
        f"{listing} line {above + 1} must be a header with the columns {' and '.join(needed)}, "
        f"once each, and is {columns_found}"
    )


def _text(listing: Path) -> str:
    content = listing.read_bytes()
    for begin, what in _OTHER_FILES.items():
        if content.startswith(begin):
            raise RequestError(f"{listing} is no CSV file but {what}: save it as CSV in UTF-8")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        # The mark that some spreadsheets write before the header is no part of it.
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as reason:
        line = content[: reason.start].count(b"\n") + 1
        raise RequestError(
            f"{listing} line {line} is not UTF-8: save it as UTF-8, in Excel as CSV UTF-8"
        ) from None
    if "\0" in text.partition("\n")[0]:
        raise RequestError(f"{listing} is not UTF-8 but perhaps UTF-16: save it as UTF-8")
    return text


def _reader(text: str, delimiter: str) -> csv._reader:  # type: ignore[name-defined]
    file = io.StringIO(text, newline="")
    return csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)


def _header(reader: csv._reader) -> list[str]:  # type: ignore[name-defined]
    try:
        return [name.strip() for name in next(reader, [])]
    except csv.Error:
        return []


def _column(header: Sequence[str], name: str) -> int | None:
    """The only column called ``name``, or else the only one called so in another case."""
    exact = [place for place, found in enumerate(header) if found == name]
    any_case = [place for place, found in enumerate(header) if found.lower() == name]
    found = exact or any_case
    return found[0] if len(found) == 1 else None


def _table_rows(
    listing: Path,
    reader: csv._reader,  # type: ignore[name-defined]
    delimiter: str,
    width: int,
    places: dict[str, int],
    above: int,
) -> Iterator[_Fields]:
    try:
        for fields in reader:
            line = above + reader.line_num
            if not any(map(str.strip, fields)):
                continue
            # Spreadsheets add or leave out empty fields at the end.
            is_whole = max(places.values()) < len(fields) and not any(fields[width:])
            if not is_whole:
                raise RequestError(
                    f"{listing} line {line} has {len(fields)} fields and the header {width}: put "
                    f"fields that hold {_DELIMITERS.get(delimiter, repr(delimiter))} in quotes"
                )
            yield _Fields(line, {name: fields[place].strip() for name, place in places.items()})
    except csv.Error as reason:
        line = above + reader.line_num
        raise RequestError(f"{listing} line {line} is no CSV: {reason}") from None
