"""The header and rows of a CSV file, as programs and spreadsheets write it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsrobust.utils.errors import RequestError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# Excel's own first line, which tells it the delimiter.
_SEPARATOR = re.compile(r'"?sep=(.)"?[,;\t ]*[\r\n]+', re.IGNORECASE)
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed",
    b"PAR1": "a Parquet file",
}


@dataclass(frozen=True)
class Row:
    """One row: the number of its line, and the text of each column asked for, '' where none is."""

    line: int
    fields: dict[str, str]


def read_table(listing: Path, needed: Sequence[str], optional: Sequence[str]) -> Iterator[Row]:
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
            return _rows(listing, readers[delimiter], delimiter, len(header), places, above)
    found = max(headers.values(), key=len)
    said = ", ".join(map(repr, found))[:200] or "empty"
    if len(found) == 1 and any(delimiter in found[0] for delimiter in allowed):
        said += ", one field in quotes"
    raise RequestError(
        f"{listing} line {above + 1} must be a header with the columns {' and '.join(needed)}, "
        f"once each, and is {said}"
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
    alike = [place for place, found in enumerate(header) if found.lower() == name]
    found = exact or alike
    return found[0] if len(found) == 1 else None


def _rows(
    listing: Path,
    reader: csv._reader,  # type: ignore[name-defined]
    delimiter: str,
    width: int,
    places: dict[str, int],
    above: int,
) -> Iterator[Row]:
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
            yield Row(line, {name: fields[place].strip() for name, place in places.items()})
    except csv.Error as reason:
        line = above + reader.line_num
        raise RequestError(f"{listing} line {line} is no CSV: {reason}") from None
