"""What ``zsrobust export`` is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import is_folder, local_path
from zsrobust.utils.validation import check_templates, check_values, require

MAX_NAME = 80


@dataclass(frozen=True)
class ExportRequest:
    """One export.

    Attributes:
        model: what to export; anything ``zsrobust.load`` takes.
        to: a format of ``FORMATS``.
        out: the folder to write; None for ``exports/MODEL-FORMAT``.
        results: an evaluation's run folder, whose rows of this model go into the card.
        class_names: classes that a classifier is written for in addition to the encoder (ONNX).
        templates: its prompts, with {} for the class name; None for the model's own.
        resolution: side of the images that the written model takes, in pixels (ONNX); None for
            the tower's own.
        unfinished: export a run that has not finished, as it is now.
        overwrite: replace an earlier export in the folder.
    """

    model: str
    to: str
    out: str | None = None
    results: str | None = None
    class_names: tuple[str, ...] = ()
    templates: tuple[str, ...] | None = None
    resolution: int | None = None
    unfinished: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_values(self.out, "out")
        if self.to != "onnx":
            for key in ("class_names", "templates", "resolution"):
                given = getattr(self, key)
                shown = ", ".join(given) if isinstance(given, tuple) else given
                require(not given, key, shown, "left out, it is for --to onnx")
        if self.templates is not None:
            require(bool(self.class_names), "templates", self.templates, "given with class_names")
            check_templates(list(self.templates))
        side = self.resolution
        require(side is None or 1 <= side <= 4096, "resolution", side, "from 1 to 4096")
        twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
        require(not twice, "class_names", f"{', '.join(twice)} twice", "different names")

    @property
    def folder(self) -> Path:
        """Where the export goes."""
        return local_path(self.out) if self.out is not None else Path("exports") / self._own_name

    @property
    def _own_name(self) -> str:
        """A folder name from the model's: of a path, its last part that is not ``model``."""
        parts = [part for part in re.split(r"[/\\]", self.model) if part not in ("", ".", "model")]
        own = parts[-1] if is_folder(self.model) and parts else "-".join(parts)
        plain = re.sub(r"[^A-Za-z0-9._]+", "-", own).strip("-.")[:MAX_NAME]
        return f"{plain or 'model'}-{self.to}"


def class_names_from(given: list[str]) -> tuple[str, ...]:
    """Class names as given, or the lines of one file that holds them.

    Raises:
        RequestError: if the file is no text, or holds no name.
    """
    if len(given) != 1 or not local_path(given[0]).is_file():
        return tuple(given)
    try:
        lines = local_path(given[0]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as reason:
        raise RequestError(f"class_names {given[0]} cannot be read as text: {reason}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    require(bool(names), "class_names", given[0], "a file with a name a line")
    return names
