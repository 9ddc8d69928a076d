"""``python -m benchmarks scaling``: images per second as one size grows and others are fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.evaluation import STEPS, subject
from benchmarks.ours import our_step
from benchmarks.setting import Setting
from benchmarks.timing import Call, timed
from zsrobust.attacks import ThreatModel, make_attack


@dataclass(frozen=True)
class Axis:
    """A size that grows.

    Attributes:
        values: of the field of ``Setting`` with the axis's name, in a training step.
        batch: images per step if the default does not fit into memory.
        evaluation: the values are numbers of radii of a PGD-10 evaluation instead.
    """

    values: Sequence[Any]
    batch: int | None = None
    evaluation: bool = False


MODELS = ("ViT-B-32/random", "ViT-B-16/random", "ViT-L-14/random")
AXES: dict[str, dict[str, Axis]] = {
    "cpu": {
        "batch": Axis((8, 16, 32, 64)),
        "model": Axis(MODELS, batch=8),
        "prompts": Axis((10, 100, 1000)),
        "attack_steps": Axis((1, 2, 4, 10)),
        "radii": Axis((1, 2, 4), evaluation=True),
    },
    "cuda": {
        "batch": Axis((32, 64, 128, 256, 512)),
        "model": Axis(MODELS, batch=64),
        "prompts": Axis((10, 100, 1000)),
        "attack_steps": Axis((1, 2, 4, 10)),
        "radii": Axis((1, 2, 4), evaluation=True),
    },
}
"""Axes by device."""


def scaling(
    default: Setting, axes: Mapping[str, Axis], *, rounds: int
) -> Iterator[dict[str, object]]:
    """Yield a row per value: images per second of our PMG-AFT step or of an evaluation."""
    device = torch.device(default.device)
    for name, axis in axes.items():
        fixed = replace(default, batch=axis.batch or default.batch)
        for value in axis.values:
            setting = fixed if axis.evaluation else replace(fixed, **{name: value})
            # One at a time, because the largest would not fit into memory beside the others.
            call = _evaluation(setting, value) if axis.evaluation else our_step(setting, True)
            (timing,) = timed({f"{name} {value}": call}, rounds=rounds, device=device).values()
            yield {
                "axis": name,
                "value": value,
                "batch": setting.batch,
                "seconds": timing.as_dict(),
                "images_per_second": setting.batch / timing.median,
            }
            del call


def _evaluation(setting: Setting, radii: int) -> Call:
    """PGD-10 at 1/255, 2/255, ..., ``radii``/255."""
    own = subject(setting)
    threats = [ThreatModel(eps=level / 255) for level in range(1, radii + 1)]
    attacks = [make_attack(f"pgd-{STEPS}", threat, seed=0) for threat in threats]
    return lambda: [own.robust(attack) for attack in attacks]


def scaling_figure(rows: Sequence[dict[str, object]]) -> Figure:
    """One panel per axis."""
    axes = list(dict.fromkeys(str(row["axis"]) for row in rows))
    figure = Figure(figsize=(2.6 * len(axes), 3), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes, strict=True):
        points = [row for row in rows if row["axis"] == axis]
        names = [str(row["value"]).removesuffix("/random") for row in points]
        speeds = [float(str(row["images_per_second"])) for row in points]
        panel.plot(names, speeds, marker="o")
        panel.set(xlabel=axis.replace("_", " "), ylim=(0, 1.1 * max(speeds)))
        panel.margins(x=0.2)
        panel.grid(alpha=0.3)
    figure.axes[0].set_ylabel("images per second")
    return figure
