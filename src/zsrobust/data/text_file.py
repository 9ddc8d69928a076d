"""Text files that a person names: UTF-8, of a size that is one."""

from __future__ import annotations

from pathlib import Path

from zsrobust.utils.errors import RequestError

# Twenty times the names of ImageNet-21k. What is no file, such as /dev/zero, may have no end.
MOST_BYTES = 1 << 24


def read_text(path: Path, what: str) -> str:
    """The text of a file, without the mark that some editors write before it.

    Args:
        path: the file.
        what: what it is, for messages, such as ``class-name file``.

    Raises:
        RequestError: if it is no file, cannot be read, is not UTF-8 or longer than ``MOST_BYTES``.
    """
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"the {what} {path} is no file: name one of text")
        if path.stat().st_size > MOST_BYTES:
            raise RequestError(f"the {what} {path} has more than {MOST_BYTES:,} bytes: it is none")
        return path.read_text("utf-8-sig")
    except OSError as reason:
        raise RequestError(f"cannot read the {what} {path}: {reason.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"the {what} {path} is not UTF-8: save it as UTF-8") from None
