"""YAML files that hold data alone: nothing to import, and no more than a recipe needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from zsrobust.utils.errors import RequestError

MOST_BYTES = 1 << 17
MOST_LEVELS = 20
# What jsonargparse takes for a class to import, before it asks whether one is allowed there, and
# for another file to read.
_NO_KEYS = ("class_path", "init_args", "dict_kwargs", "config")


def read_plain_yaml(path: Path, what: str) -> dict[str, Any]:
    """The keys and values of a YAML file.

    Args:
        path: the file.
        what: how a message names it.

    Raises:
        RequestError: if it cannot be read, is no mapping, has tags of Python, an alias (a few lines
            of them can stand for billions of values), a key that names a class or another file, or
            more than ``MOST_BYTES`` bytes or ``MOST_LEVELS`` levels.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise RequestError(f"{what} has {size:,} bytes: a recipe has at most {MOST_BYTES:,}")
        text = path.read_text(encoding="utf-8")
        _refuse_growth(text, what)
        content = yaml.safe_load(text)
    # Dates and whole numbers are made by Python, which refuses some with a ValueError.
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RequestError(f"{what} cannot be read as YAML: {reason}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{what} must hold keys and values, as in `method: pmg_aft`")
    _refuse_keys(content, what)
    return content


def _refuse_growth(text: str, what: str) -> None:
    levels = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise RequestError(f"{what} has the alias *{event.anchor}: write its value out")
        levels += isinstance(event, yaml.CollectionStartEvent)
        levels -= isinstance(event, yaml.CollectionEndEvent)
        if levels > MOST_LEVELS:
            raise RequestError(f"{what} is nested deeper than {MOST_LEVELS} levels")


def _refuse_keys(content: Any, what: str) -> None:
    if isinstance(content, dict):
        for key, value in content.items():
            if str(key).rpartition(".")[2] in _NO_KEYS:
                raise RequestError(f"{what} has the key {key}: a recipe names no class and no file")
            _refuse_keys(value, what)
    elif isinstance(content, list):
        for value in content:
            _refuse_keys(value, what)
