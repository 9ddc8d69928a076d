"""Checks of values that a person gave, with one sentence for what is wrong."""

from __future__ import annotations

from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zsrobust.errors import RequestError


def require(ok: bool, key: str, value: object, allowed: str) -> None:
    """Refuse a value out of range.

    Raises:
        RequestError: unless ``ok``, with the key, the value and what is allowed.
    """
    if not ok:
        raise RequestError(f"{key} is {value}: must be {allowed}")


def check_types(options: Any, prefix: str = "") -> None:
    """Refuse a dataclass whose fields hold what their annotations do not allow.

    The command line checks types itself; this holds for Python, where ``name="adam"`` would
    otherwise quietly mean whatever the ``else`` branch does.

    Raises:
        RequestError: naming the field, its value and what is allowed.
    """
    hints = get_type_hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        if not _fits(value, hints[field.name]):
            allowed = _in_words(hints[field.name])
            require(False, f"{prefix}{field.name}", repr(value), allowed)


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(item, get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    # A protocol cannot be checked by isinstance; whoever declares one checks it.
    return getattr(hint, "_is_protocol", False) or isinstance(value, hint)


def _in_words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return " or ".join(_in_words(part) for part in get_args(hint))
    if origin is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    if origin is list:
        return f"a list of {_in_words(get_args(hint)[0])}"
    return "None" if hint is type(None) else str(getattr(hint, "__name__", hint))
