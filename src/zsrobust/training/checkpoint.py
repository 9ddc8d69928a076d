"""Checkpoints to resume from: tensors in safetensors, the rest in JSON, whole or absent.

A checkpoint is a folder ``step-00000200`` with ``weights.safetensors``, ``optimizer.safetensors``
and ``state.json``, which holds the hash of each and of what else it says itself. No random state
is saved, because none is carried from step to step: order, noise and dropout are functions of the
seed and the step.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from zsrobust.config.schema import FinetuneConfig
from zsrobust.models.card import CARD, read_card
from zsrobust.training.sharding import full_tensor, shard_like
from zsrobust.utils.errors import Diverged, NotWritten, RequestError, RunError
from zsrobust.utils.files import atomic_folder, sha256_of, size_of

SCHEMA = 2
WEIGHTS, MOMENTS = TENSOR_FILES = ("weights.safetensors", "optimizer.safetensors")


# What readers of JSON and safetensors, and torch where tensors do not fit, raise.
_DAMAGED = (
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError),
    *(SafetensorError, RuntimeError),
)


def gather(
    encoder: nn.Module, optimizer: torch.optim.Optimizer, *, keep: bool
) -> dict[str, dict[str, Tensor]]:
    """The tensors of a checkpoint by file, on the CPU; empty files where not to ``keep`` them.

    Every process of a group must ask, since each may hold a part of every tensor.
    """
    files = zip(TENSOR_FILES, (encoder.state_dict(), _optimizer_tensors(optimizer)), strict=True)
    return {file: _own(tensors, keep=keep) for file, tensors in files}


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    *,
    keep: int = 2,
) -> None:
    """Write the checkpoint of ``step`` below ``folder`` and drop all but the last ``keep``.

    Those of later steps go too: they are damaged, or this run would not have been at ``step``.

    Args:
        folder: of all checkpoints.
        step: which it is.
        tensors: what ``gather`` gave.
        state: further JSON values for ``state.json``.
        keep: how many are left, the newest; older ones are deleted.

    Raises:
        RunError: if it cannot be written, as on a full disk; earlier ones stay.
        Diverged: if a tensor is not finite; earlier ones stay.
    """
    path = folder / f"step-{step:08d}"
    for file, values in tensors.items():
        for name, value in values.items():
            if not bool(value.isfinite().all()):
                raise Diverged(
                    f"{name} of {file} is not finite at step {step}; earlier checkpoints in "
                    f"{folder} are kept; try a lower optimizer.lr or optimizer.clip_norm"
                )
    try:
        with atomic_folder(path) as temporary:
            for name, values in tensors.items():
                save_file(values, temporary / name)
            content: dict[str, Any] = {"schema": SCHEMA, "step": step, **state}
            hashes = {name: sha256_of(temporary / name) for name in TENSOR_FILES}
            content["sha256"] = {**hashes, "state": _digest(content)}
            (temporary / "state.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        newest = [other for other in checkpoints(folder) if other.name <= path.name][-keep:]
        for other in checkpoints(folder):
            if other not in newest:
                shutil.rmtree(other)
    except NotWritten:
        raise
    except OSError as error:
        raise RunError(f"checkpoint {path} could not be written: {error}") from error


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints below ``folder``, oldest first."""
    return sorted(folder.glob("step-*"))


def bytes_to_write(config: FinetuneConfig, encoder: nn.Module, folder: Path) -> int:
    """About how many bytes a run still adds to ``folder``: checkpoints and the model.

    One checkpoint more than are kept is there while it is written. Moments of the optimizer count
    where the whole encoder is trained.
    """
    model = folder / "model"
    if not config.overwrite and _is_finished(model):
        return 0
    weights: int = sum(tensor.nbytes for tensor in encoder.state_dict().values())
    moments: int = 0
    if config.adapter.kind == "full":
        slots = 2 if config.optimizer.name == "adamw" else int(config.optimizer.momentum > 0)
        moments = slots * sum(tensor.nbytes for tensor in encoder.parameters())
    count = config.keep_checkpoints + 1
    if config.steps is not None:
        count = min(count, 2 + config.steps // config.checkpoint_every)
    needed = count * (weights + moments) + weights
    return max(0, needed - size_of(folder / "checkpoints") - size_of(model))


def _is_finished(model: Path) -> bool:
    try:
        return bool(read_card(model / CARD).get("finished"))
    except RequestError:
        return False


def load_checkpoint(
    path: Path, encoder: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Bring encoder and optimizer to the checkpoint; returns its ``state.json``.

    Raises:
        RunError: if a file is missing, cut short, altered, or of another model.
    """
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        # Those of the first schema do not hold a hash of themselves.
        if state["schema"] != 1 and state["sha256"]["state"] != _digest(state):
            raise RunError(f"checkpoint {path / 'state.json'} is damaged: its hash does not match")
        if state["step"] != int(path.name.removeprefix("step-")):
            raise RunError(f"checkpoint {path} is damaged: it is of step {state['step']}")
        for name in TENSOR_FILES:
            if sha256_of(path / name) != state["sha256"][name]:
                raise RunError(f"checkpoint {path / name} is damaged: its hash does not match")
        weights = load_file(path / WEIGHTS)
        moments = load_file(path / MOMENTS)
        here = encoder.state_dict()
        encoder.load_state_dict(
            {name: shard_like(value, here.get(name, value)) for name, value in weights.items()}
        )
        _set_optimizer_tensors(optimizer, moments)
    except _DAMAGED as error:
        why = " ".join(str(error).split())
        raise RunError(f"checkpoint {path} is damaged: {why}") from error
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
            f"{'; '.join(problems)}; no checkpoint is whole: use overwrite true to start again"
        )
    return None, problems


def _digest(state: dict[str, Any]) -> str:
    """SHA-256 of all that ``state.json`` says besides hashes."""
    content = {key: value for key, value in state.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _own(tensors: dict[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    copies = {}
    for name, value in tensors.items():
        together = full_tensor(value.detach())
        if keep:
            # safetensors refuses tensors that share memory or are not contiguous.
            copies[name] = together.cpu().clone(memory_format=torch.contiguous_format)
    return copies


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{name}": value
        for index, slots in optimizer.state_dict()["state"].items()
        for name, value in slots.items()
        if isinstance(value, Tensor)
    }


def _set_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = trained[int(index)]
        if value.ndim and value.shape != parameter.shape:
            raise ValueError(f"{key} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}")
        slots.setdefault(int(index), {})[name] = shard_like(value, parameter)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": slots, "param_groups": groups})
