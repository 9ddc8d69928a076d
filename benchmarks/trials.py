"""``python -m benchmarks trials``: what else might be faster or smaller, each with and without."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import open_clip
import torch
from torch import nn

from benchmarks.authors_way import LR
from benchmarks.memory import peak_mib
from benchmarks.our_way import our_step
from benchmarks.setting import Setting
from benchmarks.side_by_side import Way, timed
from zsrobust.devices import full_precision
from zsrobust.models.folding import folded


@dataclass(frozen=True)
class Trial:
    """One change.

    Attributes:
        name: what is changed, of what.
        without: the thing itself.
        changed: with the change.
    """

    name: str
    without: Way
    changed: Way


def trials(setting: Setting, *, rounds: int) -> list[dict[str, object]]:
    """A row a trial: seconds of both, and how many times as fast the change is."""
    rows: list[dict[str, object]] = []
    with full_precision():
        for trial in _trials(setting):
            ways = {"without": trial.without, "with": trial.changed}
            # Compiled code is compiled, and memory asked for, before the clock runs.
            for way in ways.values():
                way()
            found = timed(ways, rounds=rounds, device=torch.device(setting.device))
            rows.append(
                {
                    "trial": trial.name,
                    "without": found["without"].as_dict(),
                    "with": found["with"].as_dict(),
                    "measured_gain": found["without"].median / found["with"].median,
                }
            )
    for way, checkpointed in (("update", False), ("update, activations recomputed", True)):
        rows.append({"trial": way, "peak_mib": peak_mib(update, setting, checkpointed)})
    return rows


def _trials(setting: Setting) -> Iterator[Trial]:
    """One at a time, so that memory holds one alone."""
    vit = _tower(setting)
    images = setting.images(vit.image_size[0])[0]  # type: ignore[index]
    compiled: Any = torch.compile(vit, dynamic=False)
    yield Trial("crafting, compiled", crafting(vit, images), crafting(compiled, images))
    both = images.repeat(2, 1, 1, 1)
    yield Trial("update, compiled", updating(vit, both), updating(compiled, both))
    del compiled
    yield Trial("update, activations recomputed", update(setting, False), update(setting, True))
    yield Trial("optimizer, fused", _stepping(vit, False), _stepping(vit, True))
    reduced = replace(setting, precision="bf16")
    yield Trial("step, update in bf16", our_step(setting, True), our_step(reduced, True))
    resnet = replace(setting, model="glyph-clip").loaded().encoder
    small = setting.images(64)[0]
    rows = copy.deepcopy(resnet).to(memory_format=torch.contiguous_format)
    yield Trial("crafting, ResNet channels-last", crafting(rows, small), crafting(resnet, small))
    yield Trial(
        "crafting, ResNet's BatchNorm folded",
        crafting(resnet, small),
        crafting(folded(resnet), small),
    )


def _tower(setting: Setting) -> nn.Module:
    """As open_clip makes it."""
    name = setting.model.partition("/")[0]
    tower: nn.Module = open_clip.create_model(name).visual.eval()
    return tower.to(setting.device)


def update(setting: Setting, checkpointed: bool) -> Callable[[], object]:
    """The student's forward and backward, on clean and crafted images together."""
    tower: Any = _tower(setting).train()
    tower.set_grad_checkpointing(checkpointed)
    return updating(tower, setting.images(tower.image_size[0])[0].repeat(2, 1, 1, 1))


def crafting(tower: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A forward and the gradient to the images, of fixed weights."""

    def way() -> object:
        tower.requires_grad_(False)
        pixels = images.clone().requires_grad_(True)
        return torch.autograd.grad(tower(pixels).square().sum(), pixels)

    return way


def updating(tower: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A forward and the gradients to the weights."""

    def way() -> object:
        tower.requires_grad_(True)
        tower.zero_grad()
        return tower(images).square().sum().backward()

    return way


def _stepping(tower: nn.Module, fused: bool) -> Callable[[], object]:
    for parameter in tower.requires_grad_(True).parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(tower.parameters(), lr=LR, momentum=0.9, fused=fused)
    return optimizer.step
