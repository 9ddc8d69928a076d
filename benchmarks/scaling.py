"""``python -m benchmarks scaling``: images a second as one size grows, the others held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from matplotlib.figure import Figure

from benchmarks.our_way import our_step
from benchmarks.setting import Setting
from benchmarks.side_by_side import timed

AXES: dict[str, Sequence[object]] = {
    "batch": (8, 16, 32, 64, 128, 256),
    "model": ("ViT-B-32/random", "ViT-B-16/random", "ViT-L-14/random"),
    "prompts": (10, 100, 1000),
    "attack_steps": (1, 2, 4, 10),
}
"""What grows, by field of ``Setting``."""


def scaling(
    usual: Setting, axes: dict[str, Sequence[object]], *, rounds: int
) -> list[dict[str, object]]:
    """A row a point: images a second of a PMG-AFT step of ours."""
    rows: list[dict[str, object]] = []
    for axis, points in axes.items():
        for point in points:
            setting = replace(usual, **{axis: point})  # type: ignore[arg-type]
            # One at a time, since the largest would not fit beside the others.
            found = timed(
                {"ours": our_step(setting, True)},
                rounds=rounds,
                device=torch.device(setting.device),
            )["ours"]
            rows.append(
                {
                    "axis": axis,
                    "value": point,
                    "seconds": found.as_dict(),
                    "images_per_second": setting.batch / found.median,
                }
            )
    return rows


def scaling_figure(rows: Sequence[dict[str, object]]) -> Figure:
    """A panel an axis."""
    axes = list(dict.fromkeys(str(row["axis"]) for row in rows))
    figure = Figure(figsize=(3.2 * len(axes), 3), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes, strict=True):
        points = [row for row in rows if row["axis"] == axis]
        names = [str(row["value"]) for row in points]
        panel.plot(names, [row["images_per_second"] for row in points], marker="o")
        panel.set(xlabel=axis.replace("_", " "), ylim=(0, None))
        panel.grid(alpha=0.3)
    figure.axes[0].set_ylabel("images a second")
    return figure
