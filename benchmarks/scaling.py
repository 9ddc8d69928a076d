"""``python -m benchmarks scaling``: images a second as one size grows, the others held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.evaluating import STEPS, subject
from benchmarks.our_way import our_step
from benchmarks.setting import Setting
from benchmarks.side_by_side import timed
from zsrobust.attacks import ThreatModel, make_attack


@dataclass(frozen=True)
class Axis:
    """What grows.

    Attributes:
        points: its values.
        batch: images a step where all points must fit the memory; None for the usual number.
        evaluation: of PGD-10 at so many radii; else a field of ``Setting`` grows, in training.
    """

    points: Sequence[Any]
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
"""By device."""


def scaling(
    usual: Setting, axes: Mapping[str, Axis], *, rounds: int
) -> Iterator[dict[str, object]]:
    """A row a point: images a second of a PMG-AFT step of ours, or of an evaluation."""
    for name, axis in axes.items():
        held = replace(usual, batch=axis.batch or usual.batch)
        for point in axis.points:
            setting = held if axis.evaluation else replace(held, **{name: point})
            # One at a time, since the largest would not fit beside the others.
            way = _evaluation(setting, point) if axis.evaluation else our_step(setting, True)
            device = torch.device(setting.device)
            found = timed({f"{name} {point}": way}, rounds=rounds, device=device)
            (timing,) = found.values()
            yield {
                "axis": name,
                "value": point,
                "batch": setting.batch,
                "seconds": timing.as_dict(),
                "images_per_second": setting.batch / timing.median,
            }
            del way


def _evaluation(setting: Setting, radii: int) -> Callable[[], object]:
    """PGD-10 at 1/255, 2/255 and so on, of images of which some are right."""
    found = subject(setting)
    threats = [ThreatModel(eps=level / 255) for level in range(1, radii + 1)]
    attacks = [make_attack(f"pgd-{STEPS}", threat, seed=0) for threat in threats]
    return lambda: [found.ours(attack) for attack in attacks]


def scaling_figure(rows: Sequence[dict[str, object]]) -> Figure:
    """A panel an axis."""
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
    figure.axes[0].set_ylabel("images a second")
    return figure
