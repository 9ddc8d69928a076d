"""``python -m benchmarks optimizations``: possible optimizations, each with and without.

Predictions are for an H100 in bf16 and were written before anything was measured on a GPU. They
come from its data sheet: 50 TFLOP/s in fp32 and 600 TFLOP/s in bf16 for matrix products, 2.5 TB/s
of memory bandwidth. A batch of 256 through ViT-B/32 needs 2.3 TFLOP per pass. Apart from products,
a block moves about 0.9 GB in its forward and 1.4 GB in its backward: half of it for layer norms,
which autocast converts to fp32 and back, the rest for residuals, GELU and attention. There are no
predictions for the CPU, where results were known before.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import open_clip
import torch
from torch import Tensor, nn

from benchmarks.authors import LR
from benchmarks.evaluation import SEED, STEPS, subject
from benchmarks.memory import peak_mib
from benchmarks.ours import our_step
from benchmarks.setting import EPS, Setting
from benchmarks.timing import Call, timed
from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.attacks.frozen import frozen
from zsrobust.models.folding import folded
from zsrobust.training.compiling import compile_blocks
from zsrobust.utils.devices import full_precision
from zsrobust.utils.noise import noise_of_keys


@dataclass(frozen=True)
class Optimization:
    """A change and what it applies to.

    Attributes:
        name: the part that is measured and the change.
        without: the part without the change.
        changed: the part with it.
        predicted: predicted speedup; None if nothing was predicted.
    """

    name: str
    without: Call
    changed: Call
    predicted: float | None = None


def optimizations(setting: Setting, *, rounds: int) -> Iterator[dict[str, object]]:
    """Yield a row per optimization: seconds without and with it, and the speedup."""
    make = on_gpu if setting.device == "cuda" else on_cpu
    with full_precision():
        for one in make(setting):
            without, changed = f"{one.name}, without", f"{one.name}, with"
            calls = {without: one.without, changed: one.changed}
            # Compile and allocate before timing. A failure, such as a missing compiler, must not
            # stop the other measurements.
            try:
                for call in calls.values():
                    call()
            except Exception as error:
                why = str(error).partition("\n")[0]
                reason = f"failed: {type(error).__name__}: {why}"
                yield {"optimization": one.name, "with": reason}
                continue
            timings = timed(calls, rounds=rounds, device=torch.device(setting.device))
            yield {
                "optimization": one.name,
                "without": timings[without].as_dict(),
                "with": timings[changed].as_dict(),
                "predicted_speedup": one.predicted,
                "measured_speedup": timings[without].median / timings[changed].median,
            }
    for name, checkpointing in (("update", False), ("update, activation checkpointing", True)):
        yield {"optimization": name, "peak_mib": peak_mib(update, setting, checkpointing)}


def on_cpu(setting: Setting) -> Iterator[Optimization]:
    """One at a time, so that only one is in memory."""
    vit = _encoder(setting)
    images = setting.images(vit.image_size[0])[0]  # type: ignore[index]
    compiled: Any = torch.compile(vit, dynamic=False)
    yield Optimization(
        "attack gradient, compiled",
        input_gradient(vit, images),
        input_gradient(compiled, images),
    )
    both = images.repeat(2, 1, 1, 1)
    yield Optimization(
        "update, compiled", weight_gradients(vit, both), weight_gradients(compiled, both)
    )
    del compiled
    yield Optimization(
        "update, activation checkpointing", update(setting, False), update(setting, True)
    )
    yield Optimization("optimizer, fused", _sgd_step(vit, False), _sgd_step(vit, True))
    reduced = replace(setting, precision="bf16")
    yield Optimization("step, update in bf16", our_step(setting, True), our_step(reduced, True))
    resnet = replace(setting, model="glyph-clip").loaded().encoder
    small = setting.images(64)[0]
    contiguous = copy.deepcopy(resnet).to(memory_format=torch.contiguous_format)
    yield Optimization(
        "attack gradient, ResNet channels-last",
        input_gradient(contiguous, small),
        input_gradient(resnet, small),
    )
    yield Optimization(
        "attack gradient, ResNet with folded BatchNorm",
        input_gradient(resnet, small),
        input_gradient(folded(resnet), small),
    )


def on_gpu(setting: Setting) -> Iterator[Optimization]:
    """One at a time; fp32 without tensor cores where the name says so, bf16 elsewhere."""
    vit = _encoder(setting)
    images = setting.images(vit.image_size[0])[0]  # type: ignore[index]
    compiled = copy.deepcopy(vit)
    compile_blocks(compiled)
    half = bf16(setting, input_gradient(vit, images))
    # 8 ms of products and 11 ms of the rest, of which fused blocks leave two fifths.
    yield Optimization(
        "attack gradient, compiled", half, bf16(setting, input_gradient(compiled, images)), 1.5
    )
    # Twice the images, three passes: 23 ms of products and 22 ms of the rest, of which 9 remain.
    both = images.repeat(2, 1, 1, 1)
    yield Optimization(
        "update, compiled",
        bf16(setting, weight_gradients(vit, both)),
        bf16(setting, weight_gradients(compiled, both)),
        1.4,
    )
    # 92 ms in fp32 instead of those 19 ms.
    yield Optimization(
        "attack gradient, bf16 instead of fp32", input_gradient(vit, images), half, 5.0
    )
    # A forward alone: 45 ms instead of 4 ms of products and 4 ms of the rest.
    teacher = forward(vit, images)
    yield Optimization("teacher, bf16 instead of fp32", teacher, bf16(setting, teacher), 5.4)
    # One more forward on top of three passes.
    yield Optimization(
        "update, activation checkpointing",
        bf16(setting, update(setting, False)),
        bf16(setting, update(setting, True)),
        0.75,
    )
    # Weights and momentum are read and written once instead of in eight passes over 0.35 GB.
    yield Optimization("optimizer, fused", _sgd_step(vit, False), _sgd_step(vit, True), 1.6)
    # Int64 arithmetic in 17 passes moves 10 GB in 4 ms; fused it moves 0.15 GB.
    keys = torch.arange(len(images), device=images.device)
    noise: Any = torch.compile(noise_of_keys, dynamic=False)
    yield Optimization(
        "noise, compiled", lambda: noise_of_keys(images, keys), lambda: noise(images, keys), 25
    )
    # A pixel update reads and writes 3.2 GB, fused 0.6 GB.
    threat = ThreatModel(eps=EPS)
    compiled_step: Any = torch.compile(threat.step, dynamic=False)
    gradient = images - 0.5
    yield Optimization(
        "attack's pixel update, compiled",
        lambda: threat.step(images, images, gradient, EPS),
        lambda: compiled_step(images, images, gradient, EPS),
        5.0,
    )
    yield from _copies(images)
    # Of 22 passes, the 21 of the attack and of the last forward shrink to 64 %.
    own = subject(setting)
    attack = make_attack(f"pgd-{STEPS}", ThreatModel(eps=EPS), seed=SEED)
    yield Optimization(
        "evaluation, only correctly classified samples attacked",
        lambda: own.robust_of_all(attack),
        lambda: own.robust(attack),
        1.52,
    )
    # 800 kernel launches of 6 microseconds take 5 ms, hidden behind 19 ms of the GPU.
    yield Optimization("attack gradient, CUDA graph", half, cuda_graph(half), 1.0)


def _copies(images: Tensor) -> Iterator[Optimization]:
    """Of a batch to the GPU: a quarter of the bytes, and 0.1 ms for the conversion."""
    pixels = images.cpu()
    levels = (255 * pixels).to(torch.uint8)
    copies = {
        kind: (_copy(made(pixels), images.device), _copy(made(levels), images.device))
        for kind, made in (("pageable", Tensor.clone), ("pinned", Tensor.pin_memory))
    }
    # 154 MB at about 10 GB/s from pageable memory, 40 GB/s from pinned.
    for kind, (fp32, uint8) in copies.items():
        yield Optimization(f"copy to the GPU, uint8 instead of fp32, {kind}", fp32, uint8, 3.9)
    pageable, pinned = (copies[kind][0] for kind in ("pageable", "pinned"))
    yield Optimization("copy to the GPU, pinned instead of pageable, fp32", pageable, pinned, 4.0)


def _copy(pixels: Tensor, device: torch.device) -> Call:
    if pixels.dtype == torch.uint8:
        return lambda: pixels.to(device, non_blocking=True).float() / 255
    return lambda: pixels.to(device, non_blocking=True)


def _encoder(setting: Setting) -> nn.Module:
    """The image encoder as open_clip creates it."""
    name = setting.model.partition("/")[0]
    encoder: nn.Module = open_clip.create_model(name).visual.eval()
    return encoder.to(setting.device)


def update(setting: Setting, checkpointing: bool) -> Call:
    """The student's forward and backward on clean and adversarial images together."""
    encoder: Any = _encoder(setting).train()
    encoder.set_grad_checkpointing(checkpointing)
    images = setting.images(encoder.image_size[0])[0]
    return weight_gradients(encoder, images.repeat(2, 1, 1, 1))


def input_gradient(encoder: nn.Module, images: Tensor) -> Call:
    """A forward and the gradient with respect to the images, with frozen weights."""

    def call() -> object:
        encoder.requires_grad_(False)
        pixels = images.clone().requires_grad_(True)
        return torch.autograd.grad(encoder(pixels).float().square().sum(), pixels)

    return call


def weight_gradients(encoder: nn.Module, images: Tensor) -> Call:
    """A forward and the gradients with respect to the weights."""

    def call() -> object:
        encoder.requires_grad_(True)
        encoder.zero_grad()
        return encoder(images).float().square().sum().backward()

    return call


def forward(encoder: nn.Module, images: Tensor) -> Call:
    """A forward without a graph."""

    def call() -> object:
        with frozen(encoder), torch.no_grad():
            return encoder(images)

    return call


def bf16(setting: Setting, call: Call) -> Call:
    """``call`` under bf16 autocast."""

    def reduced() -> object:
        with torch.autocast(setting.device, torch.bfloat16):
            return call()

    return reduced


def cuda_graph(call: Call) -> Call:
    """``call`` recorded as a CUDA graph in the first call and replayed afterwards."""

    @functools.cache
    def recorded() -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        return graph

    return lambda: recorded().replay()


def _sgd_step(encoder: nn.Module, fused: bool) -> Call:
    for parameter in encoder.requires_grad_(True).parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=LR, momentum=0.9, fused=fused)
    return optimizer.step
