"""Data specifications: ``KIND[:PATH][,key=value...]`` as written after ``--data``."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from zsrobust.data.text_file import read_text
from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import check_values, require_template

KEYS = (
    *("split", "classes", "names", "name", "resolution", "templates", "prompts"),
    *("image", "label"),
)

MOST_RESOLUTION = 4096

_KEY_AHEAD = re.compile(rf",(?=(?:{'|'.join(KEYS)})=)")
_ANY_KEY = re.compile(r",([A-Za-z_]+)=")

# What people call the images to test on, the likeliest first.
_MEANT = {"train": ("train",), "test": ("test", "val", "validation", "valid")}


@dataclass(frozen=True)
class Specification:
    """A data specification in parts; what was not written is None.

    Attributes:
        text: the specification as written.
        kind: the word before the path, not yet checked.
        path: the folder of the data.
        split: the split asked for, not yet checked.
        classes: how many classes to keep, in the fixed order of ``split.keep_classes``: the first
            ones, or the last ones where below 0.
        names: class-name file.
        name: name of the set in results.
        resolution: attack resolution in pixels, 1 or more.
        templates: prompts, each with one ``{}``; empty for the default.
        prompts: preset of names and templates of a published set, not yet checked.
        image, label: columns or fields of images and labels, not yet checked.
    """

    text: str
    kind: str
    path: Path | None = None
    split: str | None = None
    classes: int | None = None
    names: Path | None = None
    name: str | None = None
    resolution: int | None = None
    templates: tuple[str, ...] = ()
    prompts: str | None = None
    image: str | None = None
    label: str | None = None

    @property
    def place(self) -> str:
        """What is written where others have a path: it may be a URL or a pattern."""
        return split_options(self.text)[0].partition(":")[2]


def split_options(text: str) -> tuple[str, str]:
    """``KIND[:PATH]`` and the rest, ``,key=value...``, of a specification."""
    head = _KEY_AHEAD.split(text)[0]
    return head, text[len(head) :]


def parse_specification(text: str) -> Specification:
    """Read ``KIND[:PATH][,key=value...]``.

    A comma ends the path or a value only where ``key=`` with a known key follows, so paths may
    hold commas.

    Raises:
        RequestError: if it holds a control character, a key is unknown, repeated or empty, or its
            value is no resolution or no readable file of templates.
    """
    check_values(text, "data")
    head, *options = _KEY_AHEAD.split(text)
    _refuse_unknown_key(text, head, head.partition(":")[2])
    values: dict[str, str] = {}
    for option in options:
        key, _, value = option.partition("=")
        _refuse_unknown_key(text, option, value)
        if key in values:
            raise RequestError(f"data {text!r} gives {key} twice: give it once")
        if not value:
            raise RequestError(f"data {text!r} gives no value for {key}: write {key}=VALUE")
        values[key] = value
    kind, _, path = head.partition(":")
    return Specification(
        text=text,
        kind=kind,
        path=_at_home(path) if path else None,
        split=values.get("split"),
        classes=_classes(text, values["classes"]) if "classes" in values else None,
        names=_at_home(values["names"]) if "names" in values else None,
        name=values.get("name"),
        resolution=_resolution(text, values["resolution"]) if "resolution" in values else None,
        templates=_templates(_at_home(values["templates"])) if "templates" in values else (),
        prompts=values.get("prompts"),
        image=values.get("image"),
        label=values.get("label"),
    )


def choose_split(asked: Specification, role: str, there: Collection[str]) -> str:
    """The split asked for, ``all`` included, or else the one that ``role`` means.

    Raises:
        RequestError: if the set does not have it.
    """
    if asked.split:
        if asked.split in (*there, "all"):
            return asked.split
        known = ", ".join([*there, "all"])
        raise RequestError(f"data {asked.text!r} has no split {asked.split!r}: it has {known}")
    for split in _MEANT[role]:
        if split in there:
            return split
    raise RequestError(
        f"data {asked.text!r} has no split called {_MEANT[role][0]}, but {', '.join(there)}: "
        f"choose with split=NAME"
    )


def _refuse_unknown_key(text: str, part: str, path: str) -> None:
    """A comma, a word and ``=`` are an unknown key, unless a path is really spelled like that."""
    unknown = _ANY_KEY.search(part)
    if unknown and not (path and exists(path)):
        raise RequestError(
            f"data {text!r} has the unknown key {unknown[1]!r}: the keys are {', '.join(KEYS)}"
        )


def _at_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise RequestError(f"data: the path {path} begins with no user's home") from None


def exists(path: str | Path) -> bool:
    """Whether there is a file or folder at ``path``, which may be no path at all."""
    try:
        return Path(path).expanduser().exists()
    # No file can be called so, or there is no such user.
    except (OSError, ValueError, RuntimeError):
        return False


def _classes(text: str, value: str) -> int:
    if not re.fullmatch(r"-?[1-9][0-9]{0,5}", value):
        raise RequestError(
            f"data {text!r} has classes {value!r}: write how many to keep, such as 90, or -10 for "
            "the ten that classes=90 leaves out of a hundred"
        )
    return int(value)


def _resolution(text: str, value: str) -> int:
    is_number = value.isascii() and value.isdigit() and len(value) <= len(str(MOST_RESOLUTION))
    if not (is_number and 0 < int(value) <= MOST_RESOLUTION):
        raise RequestError(
            f"data {text!r} has resolution {value!r}: write a whole number of pixels, such as 224, "
            f"up to {MOST_RESOLUTION}"
        )
    return int(value)


def _templates(path: Path) -> tuple[str, ...]:
    lines = read_text(path, "templates file").splitlines()
    if not lines:
        raise RequestError(f"the templates file {path} is empty: write one template a line")
    for number, line in enumerate(lines, start=1):
        require_template(f"{path} line {number}", line)
    return tuple(line.strip() for line in lines)
