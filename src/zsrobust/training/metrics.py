"""``metrics.jsonl``: one JSON object a line, in step order, each step once even after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.utils.files import name_failed_write, write_text

if TYPE_CHECKING:
    from zsrobust.training.held_out import HeldOut
    from zsrobust.training.trackers import Trackers


class MetricsLog:
    """Appends to ``path`` and to trackers; nothing is written where ``path`` is None."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.trackers: Trackers | None = None

    def forget_after(self, step: int) -> None:
        """Drop what a killed run wrote beyond ``step``, a half-written last line included."""
        if self.path is not None and self.path.exists():
            rows = read_metrics(self.path)
            earlier = [row for row in rows if isinstance(n := row.get("step"), int) and n <= step]
            write_text(self.path, "".join(json.dumps(row) + "\n" for row in earlier))

    def append(self, **row: Any) -> None:
        """Write one line.

        Raises:
            NotWritten: if the disk is full, read-only or failing.
        """
        if self.path is not None:
            with name_failed_write(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.trackers is not None:
                figures = {k: value for k, value in row.items() if k not in ("kind", "step")}
                self.trackers.log(row["kind"], row["step"], figures)

    def start_trackers(self, done: int) -> None:
        """Begin tracking after step ``done``.

        Raises:
            RequestError: if a tracker does not start.
        """
        if self.trackers is not None:
            self.trackers.start(done)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a ``metrics.jsonl``."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        # Only the line that was being written when the process was killed, or a damaged disk's.
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def shown(figures: dict[str, float], held_out: HeldOut, images_per_second: float) -> list[str]:
    """A step's figures next to the bar, the most important first."""
    parts = [f"loss {figures['total']:.3f}" if figures else "skipped"]
    for key, name in (("clean_acc", "clean"), ("adversarial_acc", "adversarial")):
        if key in figures:
            parts.append(f"{name} {figures[key]:.0%}")
    return [*parts, *held_out_figures(held_out), f"{images_per_second:.0f} img/s"]


def held_out_figures(held_out: HeldOut) -> list[str]:
    """Its accuracies next to the bar, if there are any."""
    if not held_out.n:
        return []
    return [f"held-out {held_out.clean_acc:.0%}/{held_out.robust_acc:.0%}"]
