"""Labels written as words or numbers in a file of the user's own, and the classes they mean."""

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

# What stands above a list of names: the title of its column, or the background of detectors.
_HEADERS = frozenset(
    {"name", "names", "class", "classes", "class_name", "label", "labels", "category", "background"}
)


@dataclass(frozen=True)
class ClassLabels:
    """Which label each word means.

    Attributes:
        names: C class names in label order, as prompts use them.
        label_of: word to label in [0, C).
        said: what the words may be, for messages.
        notes: sentences on names and labels that a user should check.
    """

    names: tuple[str, ...]
    label_of: dict[str, int]
    said: str
    notes: tuple[str, ...] = ()

    def label(self, word: str, where: str) -> int:
        """The label that ``word`` means; ``where`` it stands opens the message.

        Raises:
            RequestError: if it means none.
        """
        word = word.strip()
        label = self.label_of.get(word)
        if label is None and (number := _WHOLE.fullmatch(word)):
            label = self.label_of.get(str(int(number[1])))
        if label is None:
            raise RequestError(f"{where} has the label {word!r}: {self.said}")
        return label


def class_labels(words: Iterable[str], names: Path | None, what: str) -> ClassLabels:
    """The classes of a set ``what`` in which the labels ``words`` occur.

    Without a class-name file, the distinct words are the classes, sorted and cleaned. A file of
    bare names gives label 0 to its first line; words may then be numbers or names. A file of
    ``label<TAB>name`` gives the labels in the order of its lines. Classes without an image count.

    Raises:
        RequestError: if words are numbers, or true and false, and no file names them, two words
            clean to one name, all names are codes (``code_notes``), or the file is not in order.
    """
    distinct = {word.strip() for word in words}
    found = named(names) if names else _from_words(distinct, what)
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
        said = f"{path} names {_range(len(names))}; for others write label, tab and name on a line"
        return ClassLabels(names, label_of, said)
    label_of = {}
    for label, (number, word, _) in enumerate(rows):
        word = str(int(word)) if _is_number(word) else word
        if label_of.setdefault(word, label) != label:
            raise RequestError(f"{path} line {number} names the label {word!r} again")
    note = swapped_note(path, list(label_of), names)
    return ClassLabels(names, label_of, f"{path} does not name it", (note,) if note else ())


def numbered(names: tuple[str, ...], what: str) -> ClassLabels:
    """Classes whose names a set brings along; words are numbers."""
    return ClassLabels(names, _numbered(len(names)), f"{what} has {_range(len(names))}")


def _label_0_notes(distinct: set[str], found: ClassLabels, what: str) -> tuple[str, ...]:
    """Whether labels are counted from 1 where a list of names begins with that of label 0."""
    numbers = {int(word) for word in distinct if _is_number(word)}
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
    numbers = {int(word) for word in distinct if _is_number(word)}
    classes = len(found.names)
    by_label = all(map(_is_number, others)) and not _is_number(first) and first not in distinct
    shifted = found.names[0].strip("_").lower() in _HEADERS and numbers == set(range(classes - 1))
    if not names or classes < 3 or not (by_label or (found.label_of.get("0") == 0 and shifted)):
        return ()
    return (
        f"the first line of {names} is taken as the class {found.names[0]!r}: if it is a header, "
        "or a class that the labels do not count, remove it",
    )


def _from_words(words: Iterable[str], what: str) -> ClassLabels:
    distinct = sorted(words)
    if all(_is_number(word) for word in distinct):
        raise RequestError(
            f"the labels of {what} are numbers: give their names with names=FILE, label 0 first"
        )
    if all(_is_fraction(word) for word in distinct):
        raise RequestError(
            f"the labels of {what} are numbers such as {distinct[0]!r}: write whole numbers from 0 "
            "and give their names with names=FILE"
        )
    if all(word.lower() in ("true", "false") for word in distinct):
        raise RequestError(
            f"the labels of {what} are true and false, which name no class: write the name of "
            "its class for each image"
        )
    word_of: dict[str, str] = {}
    for word in distinct:
        name = clean_name(word)
        if not name:
            raise RequestError(f"the label {word!r} of {what} gives no class name")
        if word_of.setdefault(spelling(word), word) != word:
            raise RequestError(
                f"the labels {word_of[spelling(word)]!r} and {word!r} of {what} both give the "
                f"class name {name!r}: write them alike, or tell them apart with names=FILE"
            )
    label_of = {word: label for label, word in enumerate(distinct)}
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


def _is_number(word: str) -> bool:
    digits = word[1:] if word[:1] in "+-" else word
    return is_whole(digits)


def _is_fraction(word: str) -> bool:
    """Whether a table may have written a number so: ``1.0``, ``1,0``, ``1e3`` or ``nan``."""
    try:
        float(word.replace(",", "."))
    except ValueError:
        return False
    # Python's own spelling 1_000 is no table's, but may be a name.
    return "_" not in word
