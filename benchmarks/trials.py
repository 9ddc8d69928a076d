"""``python -m benchmarks trials``: what else might be faster or smaller, each with and without.

Predictions are for an H100 in bf16, written down before anything was measured on a GPU, from its
data sheet: 50 tera operations a second in fp32 and 600 in bf16 for products of matrices, 2.5
terabytes a second of memory. A batch of 256 through ViT-B/32 is 2.3 tera operations a pass. Besides
products, a block then moves about 0.9 gigabytes in its forward and 1.4 in its backward, step by
step: half of it layer norms, which autocast widens to fp32 and back, the rest residuals, GELU and
attention. On a CPU nothing is predicted: results were known before.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from benchmarks.authors_way import LR
from benchmarks.evaluating import SEED, STEPS, subject
from benchmarks.memory import peak_mib
from benchmarks.our_way import our_step
from benchmarks.setting import EPS, Setting
from benchmarks.side_by_side import Way, timed
from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.attacks.frozen import frozen
from zsrobust.models.folding import folded
from zsrobust.training.compiling import compile_blocks
from zsrobust.utils.devices import full_precision
from zsrobust.utils.noise import noise_of_keys


@dataclass(frozen=True)
class Trial:
    """One change.

    Attributes:
        name: what is changed, of what.
        without: the thing itself.
        changed: with the change.
        predicted: how many times as fast the change is to be; None where nothing was predicted.
    """

    name: str
    without: Way
    changed: Way
    predicted: float | None = None


def trials(setting: Setting, *, rounds: int) -> Iterator[dict[str, object]]:
    """A row a trial: seconds of both, and how many times as fast the change is."""
    made = on_gpu if setting.device == "cuda" else on_cpu
    with full_precision():
        for trial in made(setting):
            without, changed = f"{trial.name}, without", f"{trial.name}, with"
            ways = {without: trial.without, changed: trial.changed}
            # Compiled code is compiled, and memory asked for, before the clock runs. What this
            # machine has no compiler for, say, must not end the others.
            try:
                for way in ways.values():
                    way()
            except Exception as reason:
                why = str(reason).partition("\n")[0]
                yield {"trial": trial.name, "with": f"failed: {type(reason).__name__}: {why}"}
                continue
            found = timed(ways, rounds=rounds, device=torch.device(setting.device))
            yield {
                "trial": trial.name,
                "without": found[without].as_dict(),
                "with": found[changed].as_dict(),
                "predicted_gain": trial.predicted,
                "measured_gain": found[without].median / found[changed].median,
            }
    for way, checkpointed in (("update", False), ("update, activations recomputed", True)):
        yield {"trial": way, "peak_mib": peak_mib(update, setting, checkpointed)}


def on_cpu(setting: Setting) -> Iterator[Trial]:
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


def on_gpu(setting: Setting) -> Iterator[Trial]:
    """Likewise; without tensor cores where it says fp32, in bf16 everywhere else."""
    vit = _tower(setting)
    images = setting.images(vit.image_size[0])[0]  # type: ignore[index]
    compiled = copy.deepcopy(vit)
    compile_blocks(compiled)
    half = bf16(setting, crafting(vit, images))
    # 8 ms of products and 11 of the rest, of which fused blocks leave two fifths.
    yield Trial("crafting, compiled", half, bf16(setting, crafting(compiled, images)), 1.5)
    # Twice the images, three passes: 23 ms of products and 22 of the rest, of which 9 are left.
    both = images.repeat(2, 1, 1, 1)
    yield Trial(
        "update, compiled",
        bf16(setting, updating(vit, both)),
        bf16(setting, updating(compiled, both)),
        1.4,
    )
    # 92 ms in fp32 against those 19.
    yield Trial("crafting, in bf16 for fp32", crafting(vit, images), half, 5.0)
    # A forward alone: 45 ms against 4 of products and 4 of the rest.
    teacher = looking(vit, images)
    yield Trial("teacher, in bf16 for fp32", teacher, bf16(setting, teacher), 5.4)
    # A forward more to three passes.
    yield Trial(
        "update, activations recomputed",
        bf16(setting, update(setting, False)),
        bf16(setting, update(setting, True)),
        0.75,
    )
    # Weights and momentum are read and written once instead of eight passes over 0.35 gigabytes.
    yield Trial("optimizer, fused", _stepping(vit, False), _stepping(vit, True), 1.6)
    # Int64 arithmetic in 17 passes, 10 gigabytes or 4 ms; at once it is 0.15 gigabytes.
    keys = torch.arange(len(images), device=images.device)
    noise: Any = torch.compile(noise_of_keys, dynamic=False)
    yield Trial(
        "noise, compiled", lambda: noise_of_keys(images, keys), lambda: noise(images, keys), 25
    )
    # A step on pixels reads and writes 3.2 gigabytes, at once 0.6.
    threat = ThreatModel(eps=EPS)
    stepped: Any = torch.compile(threat.step, dynamic=False)
    gradient = images - 0.5
    yield Trial(
        "attack's step on pixels, compiled",
        lambda: threat.step(images, images, gradient, EPS),
        lambda: stepped(images, images, gradient, EPS),
        5.0,
    )
    yield from _transfers(images)
    # Of 22 passes the 21 of the attack and the last look fall to 0.64 of them.
    found = subject(setting)
    attack = make_attack(f"pgd-{STEPS}", ThreatModel(eps=EPS), seed=SEED)
    yield Trial(
        "evaluation, only standing attacked",
        lambda: found.all_attacked(attack),
        lambda: found.ours(attack),
        1.52,
    )
    # 800 launches of 6 microseconds are 5 ms, hidden behind 19 of the GPU.
    yield Trial("crafting, in a CUDA graph", half, graphed(half), 1.0)


def _transfers(images: Tensor) -> Iterator[Trial]:
    """Of a batch to the device: a quarter of the bytes, and 0.1 ms of converting."""
    pixels = images.cpu()
    levels = (255 * pixels).to(torch.uint8)
    ways = {
        kind: (_moving(made(pixels), images.device), _moving(made(levels), images.device))
        for kind, made in (("pageable", Tensor.clone), ("pinned", Tensor.pin_memory))
    }
    # 154 megabytes at some 10 gigabytes a second from pageable memory, 40 from pinned.
    for kind, (floats, bytes_) in ways.items():
        yield Trial(f"batch to the device, uint8 for fp32, {kind}", floats, bytes_, 3.9)
    pageable, pinned = (ways[kind][0] for kind in ("pageable", "pinned"))
    yield Trial("batch to the device, pinned for pageable, fp32", pageable, pinned, 4.0)


def _moving(pixels: Tensor, device: torch.device) -> Way:
    if pixels.dtype == torch.uint8:
        return lambda: pixels.to(device, non_blocking=True).float() / 255
    return lambda: pixels.to(device, non_blocking=True)


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
        return torch.autograd.grad(tower(pixels).float().square().sum(), pixels)

    return way


def updating(tower: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A forward and the gradients to the weights."""

    def way() -> object:
        tower.requires_grad_(True)
        tower.zero_grad()
        return tower(images).float().square().sum().backward()

    return way


def looking(tower: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """A forward that keeps nothing."""

    def way() -> object:
        with frozen(tower), torch.no_grad():
            return tower(images)

    return way


def bf16(setting: Setting, way: Way) -> Way:
    """``way`` under autocast."""

    def reduced() -> object:
        with torch.autocast(setting.device, torch.bfloat16):
            return way()

    return reduced


def graphed(way: Way) -> Way:
    """``way`` recorded at the first call and replayed, so that no kernel is launched by itself."""

    @functools.cache
    def recorded() -> torch.cuda.CUDAGraph:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                way()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            way()
        return graph

    return lambda: recorded().replay()


def _stepping(tower: nn.Module, fused: bool) -> Callable[[], object]:
    for parameter in tower.requires_grad_(True).parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(tower.parameters(), lr=LR, momentum=0.9, fused=fused)
    return optimizer.step
