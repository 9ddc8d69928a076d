"""Labels written as text or numbers in a file of the user's own, and the classes they mean."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from zsrobust.data.names import clean_name, spelling
from zsrobust.data.names.codes import code_notes
from zsrobust.data.names.name_file import is_whole, name_rows, swapped_note
from zsrobust.utils.errors import RequestError

# A table that holds numbers with missing ones among them writes 1 as 1.0, or as 1,0.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(?:[.,]0+)?")

# First lines that are no class: a column's title, or the background class of detectors.
_HEADERS = frozenset(
    {"name", "names", "class", "classes", "class_name", "label", "labels", "category", "background"}
)


@dataclass(frozen=True)
class ClassLabels:
    """The label that each text means.

    Attributes:
        names: C class names in label order, as prompts use them.
        label_of: text to label in [0, C).
        expected: which texts are labels, for messages.
        notes: sentences on names and labels that a user should check.
    """

    names: tuple[str, ...]
    label_of: dict[str, int]
    expected: str
    notes: tuple[str, ...] = ()

    def label(self, text: str, where: str) -> int:
        """The label that ``text`` means; ``where`` it is written opens the message.

        Raises:
            RequestError: if it is no label.
        """
        text = text.strip()
        label = self.label_of.get(text)
        if label is None and (number := _WHOLE.fullmatch(text)):
            label = self.label_of.get(str(int(number[1])))
        if label is None:
            raise RequestError(f"{where} has the label {text!r}: {self.expected}")
        return label


def class_labels(texts: Iterable[str], names: Path | None, what: str) -> ClassLabels:
    """The classes of a set ``what`` in which the labels ``texts`` occur.

    Without a class-name file, the distinct texts are the classes, sorted and cleaned. A file of
    bare names gives label 0 to its first line; texts may then be numbers or names. A file of
    ``label<TAB>name`` gives the labels in the order of its lines. Classes without an image count.

    Raises:
        RequestError: if texts are numbers, or true and false, and no file names them, two texts
            clean to one name, all names are codes (``code_notes``), or the file is not in order.
    """
    distinct = {text.strip() for text in texts}
    found = named(names) if names else _from_texts(distinct, what)
    notes = code_notes(found.names, str(names or what), chosen=names is not None)
    further = (*_label_0_notes(distinct, found, what), *_header_notes(distinct, found, names))
    return replace(found, notes=(*found.notes, *notes, *further))


def named(path: Path) -> ClassLabels:
    """The classes of a class-name file, as ``class_labels`` reads it.

    Raises:
        RequestError: if the file cannot be read or is not in order.
    """
    rows = name_rows(path)
    if not rows:
        raise RequestError(f"{path} holds no class names: write one a line")
    names = tuple(name for *_, name in rows)
    if not rows[0][1]:
        _refuse_numbers_out_of_place(path, rows)
        label_of = {**{name: label for label, name in enumerate(names)}, **_numbered(len(names))}
        expected = (
            f"{path} names {_range(len(names))}; for others write label, tab and name on a line"
        )
        return ClassLabels(names, label_of, expected)
    label_of = {}
    for label, (number, text, _) in enumerate(rows):
        text = str(int(text)) if _is_number(text) else text
        if label_of.setdefault(text, label) != label:
            raise RequestError(f"{path} line {number} names the label {text!r} again")
    note = swapped_note(path, list(label_of), names)
    return ClassLabels(names, label_of, f"{path} does not name it", (note,) if note else ())


def numbered(names: tuple[str, ...], what: str) -> ClassLabels:
    """Classes of a set that comes with their names; labels are written as numbers."""
    return ClassLabels(names, _numbered(len(names)), f"{what} has {_range(len(names))}")


def _label_0_notes(distinct: set[str], found: ClassLabels, what: str) -> tuple[str, ...]:
    """Whether labels are counted from 1 where a list of names begins with that of label 0."""
    numbers = {int(text) for text in distinct if _is_number(text)}
    classes = len(found.names)
    listed = found.label_of.get("0") == 0 and found.label_of.get(found.names[0]) == 0
    if not listed or classes < 3 or numbers != set(range(1, classes)):
        return ()
    return (
        f"no image of {what} has the label 0, whose name is {found.names[0]!r}: if its labels are "
        "counted from 1, write label, tab and name on every line of the class-name file",
    )


def _header_notes(distinct: set[str], found: ClassLabels, names: Path | None) -> tuple[str, ...]:
    """Whether the first line of a class-name file is a header, or names a class without images."""
    first, *others = found.label_of
    numbers = {int(text) for text in distinct if _is_number(text)}
    classes = len(found.names)
    by_label = all(map(_is_number, others)) and not _is_number(first) and first not in distinct
    shifted = found.names[0].strip("_").lower() in _HEADERS and numbers == set(range(classes - 1))
    if not names or classes < 3 or not (by_label or (found.label_of.get("0") == 0 and shifted)):
        return ()
    return (
        f"the first line of {names} is taken as the class {found.names[0]!r}: if it is a header, "
        "or a class that the labels do not count, remove it",
    )


def _from_texts(texts: Iterable[str], what: str) -> ClassLabels:
    distinct = sorted(texts)
    if all(_is_number(text) for text in distinct):
        raise RequestError(
            f"the labels of {what} are numbers: give their names with names=FILE, label 0 first"
        )
    if all(_is_fraction(text) for text in distinct):
        raise RequestError(
            f"the labels of {what} are numbers such as {distinct[0]!r}: write whole numbers from 0 "
            "and give their names with names=FILE"
        )
    if all(text.lower() in ("true", "false") for text in distinct):
        raise RequestError(
            f"the labels of {what} are true and false, which name no class: write the name of "
            "its class for each image"
        )
    text_of: dict[str, str] = {}
    for text in distinct:
        name = clean_name(text)
        if not name:
            raise RequestError(f"the label {text!r} of {what} gives no class name")
        if text_of.setdefault(spelling(text), text) != text:
            raise RequestError(
                f"the labels {text_of[spelling(text)]!r} and {text!r} of {what} both give the "
                f"class name {name!r}: spell them the same way, or tell them apart with names=FILE"
            )
    label_of = {text: label for label, text in enumerate(distinct)}
    return ClassLabels(tuple(map(clean_name, distinct)), label_of, f"{what} does not name it")


def _refuse_numbers_out_of_place(path: Path, rows: list[tuple[int, str, str]]) -> None:
    """A name that is the number of another line would be two classes at once."""
    for label, (number, _, name) in enumerate(rows):
        if _is_number(name) and int(name) != label and 0 <= int(name) < len(rows):
            raise RequestError(
                f"{path} line {number} names label {label} {name!r}, which is the number of "
                "another label: write label, tab and name on every line"
            )


def _numbered(classes: int) -> dict[str, int]:
    return {str(label): label for label in range(classes)}


def _range(classes: int) -> str:
    return f"{classes} classes, labels 0 to {classes - 1}"


def _is_number(text: str) -> bool:
    digits = text[1:] if text[:1] in "+-" else text
    return is_whole(digits)


def _is_fraction(text: str) -> bool:
    """Whether a table may have written a number so: ``1.0``, ``1,0``, ``1e3`` or ``nan``."""
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    # Python's own spelling 1_000 is no table's, but may be a name.
    return "_" not in text
