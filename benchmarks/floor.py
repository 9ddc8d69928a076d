"""How fast a step could be: its counted operations at the rate this device multiplies matrices."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.setting import Setting, loaded_once

GUIDED_PASSES, PLAIN_PASSES = 7, 3
"""Passes of one image besides the attack's two a PGD step: students and original forward, and
gradients to activations and weights. With PGD-2 that makes 11 for PMG-AFT, 7 for TeCoA."""
SIDE = {"cpu": 2048, "cuda": 8192}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Operations(TorchDispatchMode):
    """Adds up torch's own formulas; its ``FlopCounterMode`` cannot look into ``autograd.grad``."""

    total = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def counted(way: Callable[[], object]) -> float:
    """Operations of one call, what is compiled run as written; two for multiplying and adding."""
    counter = Operations()
    # Without a gradient attention takes a path whose operations the counter does not see.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.compiler.set_stance("force_eager"), counter:
            way()
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter.total


def forward_operations(setting: Setting) -> float:
    """Operations of one image through the tower."""
    return _forward_operations(setting.model)


@functools.cache
def _forward_operations(name: str) -> float:
    model = loaded_once(name)
    side = model.preprocessing.image_size
    images = torch.zeros(1, 3, side, side)
    return counted(lambda: model.encoder(images))


def step_operations(setting: Setting, *, guided: bool) -> float:
    """Operations that a step cannot do without."""
    passes = 2 * setting.attack_steps + (GUIDED_PASSES if guided else PLAIN_PASSES)
    return setting.batch * passes * forward_operations(setting)


@functools.cache
def matrix_rate(device: str, precision: str, seconds: float = 2.0) -> float:
    """Operations a second of square products, the best of many within ``seconds``."""
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
