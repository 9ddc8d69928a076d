"""Image towers compiled by torch.compile, for training only.

A tower is compiled block by block. Its blocks have the same structure, so one compilation serves
all of them and takes seconds instead of minutes. Modules stay the same objects with the same names,
and a copy of one is not compiled.
"""

from __future__ import annotations

import textwrap
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from zsrobust.models.tower_blocks import find_blocks
from zsrobust.models.visual_prompts import tower_of
from zsrobust.utils.errors import RequestError

BACKEND = "inductor"
"""Of ``torch.compile``, which has others that only trace, for tests."""


def check_compiles(encoder: nn.Module, name: str, device: torch.device) -> None:
    """Refuse a tower without uniform blocks, and a machine that lacks what compiling needs.

    Raises:
        RequestError: saying which of them it is.
    """
    classes = {type(block) for block in find_blocks(tower_of(encoder)).values()}
    if len(classes) != 1 or any(isinstance(part, nn.Conv2d) for part in _parts(encoder)):
        raise RequestError(
            f"compile is true: model {name} ({type(tower_of(encoder)).__name__}) is not made of "
            "transformer blocks of one class: use compile false"
        )
    try:
        torch.compile(_something, backend=BACKEND)(torch.zeros(2, device=device))
    # What fails is a compiler of C++ or of GPU code, each with errors of its own.
    except Exception as reason:
        why = textwrap.shorten(str(reason), 200)
        raise RequestError(
            f"compile is true, but torch.compile does not work on {device} here ({why}): use "
            "compile false, or install the compiler that it needs"
        ) from reason


def compile_blocks(encoder: nn.Module) -> None:
    """Let the blocks of ``encoder`` run compiled, for each shape of their input anew."""
    for block in find_blocks(tower_of(encoder)).values():
        block.compile(backend=BACKEND, dynamic=False)


def uncompiled(compiled: bool) -> AbstractContextManager[object]:
    """Inside, nothing runs compiled: for what must be exact, or has another shape at every call."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _parts(encoder: nn.Module) -> list[nn.Module]:
    blocks = find_blocks(tower_of(encoder)).values()
    return [part for block in blocks for part in block.modules()]


def _something(values: torch.Tensor) -> torch.Tensor:
    return values * 2 + 1
