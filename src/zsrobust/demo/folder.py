"""The folder of a demonstration: marked with the command that fills it."""

from __future__ import annotations

import json
from pathlib import Path

from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text

MARK = "demo.json"


def check_folder(out: Path) -> None:
    """Refuse a folder that a demonstration cannot use; it need not be there yet.

    Raises:
        RequestError: if it is a file, or holds other files.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"out {out} is a file: name a folder")
    if out.exists() and any(out.iterdir()) and not (out / MARK).exists():
        raise RequestError(
            f"out {out} holds files and is no folder of zsrobust demo: name an empty or new one"
        )


def claim_folder(out: Path, command: str) -> None:
    """Make the folder, marked with ``command``.

    Raises:
        RequestError: if it cannot be written, or holds other files.
    """
    try:
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / MARK, json.dumps({"command": command}) + "\n")
    except OSError as error:
        raise RequestError(f"out {out} cannot be written: {error.strerror}") from None
