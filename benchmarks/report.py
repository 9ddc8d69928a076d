"""How results are written: rows as a Markdown table, and the machine they were measured on."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from pathlib import Path

import torch


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """A Markdown table, without columns that are empty or hold the same text in every row."""
    columns = []
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        same = len(values) > 1 and isinstance(values[0], str) and len(set(values)) == 1
        if any(map(_has_value, values)) and not same:
            columns.append(key)
    lines = [
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    lines += ["| " + " | ".join(_cell(row.get(key)) for key in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _has_value(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _cell(value: object) -> str:
    if not _has_value(value):
        return ""
    if isinstance(value, dict):
        median, fastest, slowest = (value[key] for key in ("median", "fastest", "slowest"))
        return f"{_seconds(median)} ({_seconds(fastest)}-{_seconds(slowest)})"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return str(value)


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def machine(device: str) -> dict[str, object]:
    """What determines speed: processor, threads in use, device, versions."""
    info = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (info.read_text().splitlines() if info.is_file() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
