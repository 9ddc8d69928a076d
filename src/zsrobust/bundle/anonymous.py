"""Results without the sender's folders: of an absolute path the last part stays, as ``.../NAME``.

So a folder never takes the name of something else, such as a published data set.
"""

from __future__ import annotations

import getpass
import re
from pathlib import Path
from typing import Any

import pyarrow as pa

from zsrobust.utils.errors import RequestError

# After the beginning, a space or a delimiter: /x, ~/x, ~user/x, C:\x, \\server; no // of an URL.
_PATH = re.compile(
    r"""(?<![^\s:,=('"\[])(?:(?:~[\w.-]*)?/(?![\s/])|[A-Za-z]:[\\/]|\\\\)[^\s:,;()'"\[\]]+"""
)


def anonymous(value: Any) -> Any:
    """A JSON value with every absolute path in its texts and keys shortened.

    Raises:
        RequestError: if two keys become one, or a text still names this user's folder.
    """
    if isinstance(value, str):
        return _anonymous(value)
    if isinstance(value, list):
        return [anonymous(item) for item in value]
    if not isinstance(value, dict):
        return value
    short: dict[str, Any] = {}
    for key, item in value.items():
        name = anonymous(key)
        if name in short:
            raise RequestError(
                f"two names become {name!r} without their folders: evaluate with other names"
            )
        short[name] = anonymous(item)
    return short


def anonymous_table(table: pa.Table) -> pa.Table:
    """The same of a table's text columns; what else its file says of itself goes.

    Raises:
        RequestError: as of :func:`anonymous`.
    """
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_string(column.type):
            encoded = column.combine_chunks().dictionary_encode()
            texts = pa.array(anonymous(encoded.dictionary.to_pylist()), pa.string())
            column = pa.DictionaryArray.from_arrays(encoded.indices, texts).cast(pa.string())
        columns[name] = column
    return pa.table(columns)


def _anonymous(text: str) -> str:
    short = re.sub(rf"{re.escape(str(Path.home()))}(?=[\\/])", "~", text)
    short = _PATH.sub(_shortened, short)
    user = getpass.getuser()
    if re.search(rf"^{re.escape(user)}[\\/]|[\\/]{re.escape(user)}(?![\w.-])", short):
        raise RequestError(
            f"{text!r} names a folder of {user}: evaluate again from another folder, with "
            "relative paths"
        )
    return short


def _shortened(path: re.Match[str]) -> str:
    last = re.split(r"[\\/]", path[0].rstrip("\\/"))[-1]
    return f".../{last}"
