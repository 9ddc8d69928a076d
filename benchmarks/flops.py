"""FLOP counts of calls and steps, and the rate at which the device multiplies matrices."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.setting import Setting, cached_model

PMG_AFT_PASSES, TECOA_PASSES = 7, 3
"""Passes per image besides the two of each PGD step: forwards of student and teacher, gradients to
activations and weights. With PGD-2 the total is 11 for PMG-AFT and 7 for TeCoA."""
SIDE = {"cpu": 2048, "cuda": 8192}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class _Counter(TorchDispatchMode):
    """Sums torch's FLOP formulas; ``FlopCounterMode`` does not see into ``autograd.grad``."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def count_flops(call: Callable[[], object]) -> float:
    """FLOPs of one call; a multiply-add counts as two. Compiled code runs eagerly."""
    counter = _Counter()
    # Without gradients, attention takes a fast path whose operations the counter does not see.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager"), counter:
            call()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.total


def forward_flops(setting: Setting) -> float:
    """FLOPs of the image encoder's forward for one image."""
    return _forward_flops(setting.model)


@functools.cache
def _forward_flops(name: str) -> float:
    model = cached_model(name)
    side = model.preprocessing.image_size
    images = torch.zeros(1, 3, side, side)
    return count_flops(lambda: model.encoder(images))


def required_flops(setting: Setting, *, pmg_aft: bool) -> float:
    """FLOPs that a step of PMG-AFT or TeCoA needs at least."""
    passes = 2 * setting.attack_steps + (PMG_AFT_PASSES if pmg_aft else TECOA_PASSES)
    return setting.batch * passes * forward_flops(setting)


@functools.cache
def matrix_rate(device: str, precision: str, seconds: float = 2.0) -> float:
    """FLOPs per second of a square matrix product, the best of those run within ``seconds``."""
    side = SIDE[device]
    left = torch.rand(side, side, device=device, dtype=DTYPES[precision])
    right = left.T.contiguous()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best
