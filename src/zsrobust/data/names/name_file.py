"""Class-name files: one name a line, or lines of folder, tab and name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zsrobust.data.names import spelling
from zsrobust.data.names.codes import code_before_names
from zsrobust.data.text_file import read_text
from zsrobust.utils.errors import RequestError

# A list of JSON or of Python: {"0": "cat"}, or names = ['cat', 'dog'].
_IN_BRACKETS = re.compile(r"""(\w+\s*[:=]\s*)?[\[{(]\s*["'].*[\]})][,;]?""", re.DOTALL)
_QUOTED = re.compile(r"""(["']).*\1[,;]?""")


def read_names(
    path: Path,
    folders: Sequence[str],
    say: Callable[[str], object] = lambda sentence: None,
    what: str = "class folders",
) -> tuple[str, ...]:
    """Class names from a class-name file, one for each of ``folders`` (C, sorted), in their order.

    The file is UTF-8. Either each line is ``folder<TAB>name``, in any order, or each line is a
    name. Names that are the folders' own, cleaned, are joined to them by spelling; other names are
    for the folders in sorted order, or by number where all folders are numbers. Names are used as
    written. Lines that start with ``#`` are comments.

    Args:
        path: the file.
        folders: the classes as the data spells them.
        say: called with each sentence on what a user should check.
        what: how messages call ``folders``.

    Raises:
        RequestError: if the file cannot be read, has an empty line, a repeated or unknown folder,
            two equal names (in any case), not exactly one name a folder, a name that is another
            folder's, or names alone where it is unclear in which order folders stand.
    """
    rows = name_rows(path)
    if rows and rows[0][1]:
        names = _by_folder(path, rows, folders, what)
        if note := swapped_note(path, folders, names):
            say(note)
        return names
    if len(rows) != len(folders):
        raise RequestError(
            f"{path} holds {len(rows)} class names for {len(folders)} {what}: "
            "write one line for each, in their sorted order"
        )
    listed = [name for *_, name in rows]
    own = {spelling(name): name for name in listed}
    if len(own) == len(listed) and set(own) == {spelling(folder) for folder in folders}:
        return tuple(own[spelling(folder)] for folder in folders)
    return _by_position(path, listed, folders, say, what)


def name_rows(path: Path) -> list[tuple[int, str, str]]:
    """Line number, folder and name of each line of a class-name file; folders on all or none.

    The folder is empty where lines hold names alone.

    Raises:
        RequestError: if the file cannot be read, holds more than names (``_refuse_syntax``), some
            lines have a folder and others none, a line is empty, or two names are equal (in any
            case).
    """
    lines = _lines(path)
    _refuse_syntax(path, lines)
    rows = [_row(path, number, line) for number, line in lines]
    bare = [number for number, folder, _ in rows if not folder]
    if 0 < len(bare) < len(rows):
        raise RequestError(
            f"{path} line {bare[0]} has no tab, but others have: write a name on every line, "
            "or folder, tab and name on every line"
        )
    _refuse_equal_names(path, rows)
    if bare:
        _refuse_codes(path, [(number, name) for number, _, name in rows])
    return rows


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a UTF-8 file that are no comments, each with its number from 1."""
    text = read_text(path, "class-name file")
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line) for number, line in lines if not line.lstrip().startswith("#")]


def _row(path: Path, number: int, line: str) -> tuple[int, str, str]:
    """Line number, folder (empty where the line has none) and name."""
    folder, _, name = line.rpartition("\t")
    folder, name = folder.strip(), name.strip()
    if not name or ("\t" in line and not folder):
        raise RequestError(f"{path} line {number} is empty or lacks a name: write one name a line")
    return number, folder, name


def _by_folder(
    path: Path, rows: Sequence[tuple[int, str, str]], folders: Sequence[str], what: str
) -> tuple[str, ...]:
    by_key: dict[str, list[str]] = {}
    for folder in folders:
        by_key.setdefault(_key(folder), []).append(folder)
    names: dict[str, str] = {}
    for number, word, name in rows:
        # As it is spelled on disk, or the only one of that number or with those accents.
        found = [word] if word in folders else by_key.get(_key(word), [])
        if len(found) != 1:
            raise RequestError(
                f"{path} line {number} names the folder {word!r}, which is not among the "
                f"{len(folders)} {what}: write a folder as it is spelled on disk"
            )
        if found[0] in names:
            raise RequestError(
                f"{path} line {number} names the folder {word!r} again: write one line a folder"
            )
        names[found[0]] = name
    missing = [folder for folder in folders if folder not in names]
    if missing:
        raise RequestError(
            f"{path} lacks {len(missing)} of the {len(folders)} {what}, first "
            f"{missing[0]!r}: write one line a folder"
        )
    return tuple(names[folder] for folder in folders)


def _key(folder: str) -> str:
    """Equal for folders that differ in zeros before a number, or in how accents are stored."""
    return str(int(folder)) if is_whole(folder) else unicodedata.normalize("NFC", folder)


def is_whole(text: str) -> bool:
    """Whether it is a whole number without a sign, such as ``007``."""
    return re.fullmatch("[0-9]{1,18}", text) is not None


def _by_position(
    path: Path,
    names: Sequence[str],
    folders: Sequence[str],
    say: Callable[[str], object],
    what: str,
) -> tuple[str, ...]:
    ordered = list(folders)
    if all(map(is_whole, folders)):
        ordered.sort(key=int)
        unclear = len(set(map(int, folders))) < len(folders)
    else:
        unclear = ordered == sorted(ordered) != sorted(ordered, key=_natural)
    if unclear:
        raise RequestError(
            f"{path} holds names alone, and the {what} have one order as text and another by "
            f"their numbers ({', '.join(folders[:3])}, ...): write folder, tab and name on every "
            "line"
        )
    if ordered == sorted(ordered) != sorted(ordered, key=str.casefold):
        say(
            f"{path} holds names alone, which are joined to the {what} with capitals first: "
            f"{names[0]!r} is {ordered[0]!r} and {names[-1]!r} is {ordered[-1]!r}; if they are "
            "not, write folder, tab and name on every line"
        )
    name_of = dict(zip(ordered, names, strict=True))
    _refuse_contradiction(path, name_of)
    _look_for_folders(path, name_of, say)
    return tuple(name_of[folder] for folder in folders)


def _natural(folder: str) -> list[tuple[int, str]]:
    """Sorts text with the numbers in it by their value."""
    parts = re.split("([0-9]+)", folder)
    parts[1::2] = [digits.lstrip("0") for digits in parts[1::2]]
    return [(len(part) if at % 2 else 0, part) for at, part in enumerate(parts)]


def _refuse_contradiction(path: Path, name_of: dict[str, str]) -> None:
    """Refuse a name that equals or contains another folder's: it was meant for that one."""
    folder_of = {_singular(spelling(folder)): folder for folder in name_of}
    claims = {folder: _phrases(name) & set(folder_of) for folder, name in name_of.items()}
    for folder, name in name_of.items():
        if _singular(spelling(folder)) in claims[folder]:
            continue
        for phrase in sorted(claims[folder]):
            whole = phrase == _singular(spelling(name))
            has_letters = bool(re.search(r"[^\W\d_]{3}", phrase))
            if whole or (has_letters and phrase not in claims[folder_of[phrase]]):
                raise RequestError(
                    f"{path} gives {folder!r} the name {name!r}, which is that of "
                    f"{folder_of[phrase]!r} by its spelling: write folder, tab and name on every "
                    "line"
                )


def _look_for_folders(path: Path, name_of: dict[str, str], say: Callable[[str], object]) -> None:
    """Note or refuse names that begin with the folders, as in ``cat,tabby`` or ``cat: tabby``."""
    heads = {folder: re.split(r"[,;:=|]|->", name)[0] for folder, name in name_of.items()}
    begun = {folder: spelling(head) for folder, head in heads.items() if head != name_of[folder]}
    right = {folder: spelling(folder) for folder in name_of}
    if len(begun) < len(right) or set(begun.values()) != set(right.values()):
        return
    folder, name = next(iter(name_of.items()))
    if begun != right:
        folder = next(folder for folder in right if begun[folder] != right[folder])
        raise RequestError(
            f"{path} gives {folder!r} the name {name_of[folder]!r}, which begins with another "
            "folder: write folder, tab and name on every line"
        )
    say(
        f"every name in {path} begins with its folder, as {name!r}, and so does every prompt: if "
        "that is not part of the name, write folder, tab and name on every line"
    )


def swapped_note(path: Path, labels: Sequence[str], names: Sequence[str]) -> str:
    """A sentence if names are numbers and labels are not, as where both are swapped; else empty."""
    if not all(map(is_whole, names)) or any(re.search("[0-9]", label) for label in labels):
        return ""
    return (
        f"{path} gives {labels[0]!r} the name {names[0]!r}, and every class a number: if these are "
        "labels, write label, tab and name on every line"
    )


def _phrases(name: str) -> set[str]:
    """The words of a name, and all runs of them."""
    words = spelling(name).split()
    runs = [(a, b) for a in range(len(words)) for b in range(a + 1, min(len(words), a + 8) + 1)]
    return {_singular(" ".join(words[a:b])) for a, b in runs}


def _singular(phrase: str) -> str:
    return phrase.removesuffix("s")


def _refuse_equal_names(path: Path, rows: Sequence[tuple[int, str, str]]) -> None:
    first: dict[str, int] = {}
    for number, _, name in rows:
        earlier = first.setdefault(unicodedata.normalize("NFC", name).lower(), number)
        if earlier != number:
            raise RequestError(
                f"{path} line {number} repeats the class name {name!r} of line {earlier}: "
                "give every class a name of its own"
            )


def _refuse_syntax(path: Path, lines: Sequence[tuple[int, str]]) -> None:
    """Refuse lines with signs that belong to no name, as they would be in every prompt.

    Args:
        path: of the class-name file.
        lines: its lines with their numbers.

    Raises:
        RequestError: if they are a list of JSON, YAML or Python, or each ends in a comma or is in
            quotes.
    """
    texts = [text.strip() for _, text in lines]
    if not texts:
        return
    ends = [text.endswith((",", ";")) for text in texts[:-1]]
    if _IN_BRACKETS.fullmatch("\n".join(texts)):
        what = "is a list in brackets"
    elif re.fullmatch(r"\w+:", texts[0]) or _all(text.startswith("- ") for text in texts):
        what = "is a list in YAML"
    elif _all(_QUOTED.fullmatch(text) is not None for text in texts):
        what = "has each name in quotes"
    elif ends and all(ends):
        what = f"has a {texts[0][-1]!r} behind each name"
    else:
        return
    raise RequestError(f"{path} {what}: write the names alone, one a line")


def _refuse_codes(path: Path, rows: Sequence[tuple[int, str]]) -> None:
    """Refuse lines that are a code, a blank or comma, and a name, perhaps below a header.

    Raises:
        RequestError: if they are; ``rows`` have the number of a line and its name.
    """
    names = [name for _, name in rows]
    for header in (0, 1):
        if len(names) > header + 1 and (code := code_before_names(names[header:])):
            below = f", below the header {names[0]!r}" if header else ""
            raise RequestError(
                f"{path} line {rows[header][0]} has the code {code!r} before a name, as all lines "
                f"have one{below}, but no tab: write code, tab and name on every line"
            )


def _all(found: Iterable[bool]) -> bool:
    found = list(found)
    return len(found) > 1 and all(found)
