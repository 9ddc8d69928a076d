"""Rows as a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Sequence


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """A column a key that any row has a value for, without words that are the same in all."""
    columns = []
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        same = len(values) > 1 and isinstance(values[0], str) and len(set(values)) == 1
        if any(map(_has, values)) and not same:
            columns.append(key)
    lines = [
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _has(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _cell(value: object) -> str:
    if not _has(value):
        return ""
    if isinstance(value, dict):
        median, fastest, slowest = (value[key] for key in ("median", "fastest", "slowest"))
        return f"{_seconds(median)} ({_seconds(fastest)}-{_seconds(slowest)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"
