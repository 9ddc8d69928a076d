"""Weights sharded over processes (FSDP), for towers whose training does not fit on one device.

By torch's own ``fully_shard``: attacks call the encoder by itself, and training calls it within the
student, so it is the encoder that is wrapped, and neither knows of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from zsrobust.models.tower_blocks import find_blocks


def apply_fsdp(module: nn.Module, device: torch.device, world_size: int) -> None:
    """Shard every weight of ``module`` over ``world_size`` processes, in place.

    The weights of a tower are gathered one block at a time, when they are needed.
    """
    mesh = init_device_mesh(device.type, (world_size,))
    for parameter in module.parameters():
        # Convolutions may be stored with their channels last, which fully_shard does not take.
        parameter.data = parameter.data.contiguous()
    for part in [*find_blocks(module).values(), module]:
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def full_tensor(tensor: Tensor) -> Tensor:
    """``tensor`` unsharded; a collective call, which every process must make."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shard_like(tensor: Tensor, other: Tensor) -> Tensor:
    """``tensor``, which every process has in full, sharded as ``other`` is."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
