"""The folder of an export: marked as one, with the SHA-256 of every file that is handed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import sha256_of

MARK = "zsrobust_export.json"
CARD = "README.md"
SCHEMA = 1


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds anything; an earlier export is replaced where that is asked for.

    Raises:
        RequestError: if it is a file, holds other files, or an export and ``overwrite`` is off.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"out {folder} is a file: name a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / MARK).is_file():
        raise RequestError(f"out {folder} holds files and is no export: name an empty or new one")
    if not overwrite:
        raise RequestError(
            f"out {folder} holds an export: name another folder, or use overwrite true to "
            "replace it"
        )
    written = {*read_mark(folder)["files"], MARK}
    strangers = sorted(entry.name for entry in folder.iterdir() if entry.name not in written)
    if strangers:
        raise RequestError(
            f"out {folder} holds files that no export wrote, such as {strangers[0]}: move them, or "
            "name another folder"
        )


def write_mark(folder: Path, about: dict[str, Any]) -> None:
    """Write the mark: ``about``, and every file there is with its SHA-256."""
    files = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
    content = {"schema": SCHEMA, **about, "files": files}
    (folder / MARK).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_mark(folder: Path) -> dict[str, Any]:
    """What the mark of an export says.

    Raises:
        RequestError: if the folder is no export, or its mark is damaged.
    """
    try:
        content = json.loads((folder / MARK).read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, this reads {SCHEMA}")
        names = content["files"]
        if not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise ValueError("it names files elsewhere")
        return dict(content)
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise RequestError(
            f"{folder} is no export ({MARK} is missing or damaged: {reason}): make one with "
            "zsrobust export"
        ) from None


def require_whole(folder: Path) -> list[str]:
    """The names of an export's files, mark included, once each is found as it was written.

    The card alone may have been edited.

    Raises:
        RequestError: if the folder is no export, or a file is missing or changed.
    """
    files = read_mark(folder)["files"]
    for name, digest in files.items():
        path = folder / name
        if not path.is_file():
            raise RequestError(f"{path} is missing: export again")
        if name != CARD and sha256_of(path) != digest:
            raise RequestError(f"{path} is not as it was exported: export again")
    return [*files, MARK]
