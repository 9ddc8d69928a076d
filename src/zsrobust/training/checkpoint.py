"""Checkpoints to resume from: tensors in safetensors, the rest in JSON, whole or absent.

A checkpoint is a folder ``step-00000200`` with ``weights.safetensors``, ``optimizer.safetensors``
and ``state.json``, which holds the hash of each. No random state is kept, because none is carried
from step to step: order, noise and dropout are functions of the seed and the step.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zsrobust.errors import RequestError, RunError
from zsrobust.files import folder_written_whole, sha256_of

TENSOR_FILES = ("weights.safetensors", "optimizer.safetensors")


def save_checkpoint(
    folder: Path,
    step: int,
    encoder: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    *,
    keep: int = 2,
) -> None:
    """Write the checkpoint of ``step`` below ``folder`` and drop all but the last ``keep``.

    Raises:
        RunError: if it cannot be written, as on a full disk; earlier ones stay.
    """
    path = folder / f"step-{step:08d}"
    tensors = {
        "weights.safetensors": _own(encoder.state_dict()),
        "optimizer.safetensors": _own(_optimizer_tensors(optimizer)),
    }
    try:
        with folder_written_whole(path) as temporary:
            for name, values in tensors.items():
                save_file(values, temporary / name)
            hashes = {name: sha256_of(temporary / name) for name in TENSOR_FILES}
            text = json.dumps({"schema": 1, "step": step, "sha256": hashes, **state}, indent=1)
            (temporary / "state.json").write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise RunError(f"checkpoint {path} could not be written: {error}") from error
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints below ``folder``, oldest first."""
    return sorted(folder.glob("step-*"))


def load_checkpoint(
    path: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Bring encoder and optimizer to the checkpoint; returns its ``state.json``.

    Raises:
        RunError: if a file is missing, cut short, altered, or of another model.
    """
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        for name in TENSOR_FILES:
            if sha256_of(path / name) != state["sha256"][name]:
                raise RunError(f"checkpoint {path / name} is damaged: its hash does not match")
        weights = load_file(path / "weights.safetensors")
        moments = load_file(path / "optimizer.safetensors")
        encoder.load_state_dict(weights)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
        raise RunError(f"checkpoint {path} is damaged: {error}") from error
    _set_optimizer_tensors(optimizer, moments)
    return state


def load_newest(
    folder: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any] | None, list[str]]:
    """Load the newest whole checkpoint below ``folder``.

    Returns:
        Its ``state.json``, None where there is no checkpoint yet, and what is wrong with each
        newer one.

    Raises:
        RequestError: if there are checkpoints and none is whole.
    """
    problems: list[str] = []
    for path in reversed(checkpoints(folder)):
        try:
            return load_checkpoint(path, encoder, optimizer), problems
        except RunError as error:
            problems.append(str(error))
    if problems:
        raise RequestError(
            f"{'; '.join(problems)}; no checkpoint is whole: use --overwrite true to start again"
        )
    return None, problems


def _own(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory or are not contiguous.
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": value
        for index, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
        if isinstance(value, Tensor)
    }


def _set_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        slots.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
