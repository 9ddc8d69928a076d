"""Weights shared out over processes (FSDP), for towers whose training does not fit on one device.

By torch's own ``fully_shard``: attacks call the encoder by itself, and training calls it within the
student, so it is the encoder that is wrapped, and neither knows of it.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from zsrobust.models.adapters.tower_blocks import find_blocks


def share_out(module: nn.Module, device: torch.device, world: int) -> None:
    """Give each of ``world`` processes a part of every weight of ``module``, in place.

    The blocks of a tower are brought together one at a time when they are needed.
    """
    mesh = init_device_mesh(device.type, (world,))
    for parameter in module.parameters():
        # Convolutions may be stored with their channels last, which fully_shard does not take.
        parameter.data = parameter.data.contiguous()
    for part in [*find_blocks(module).values(), module]:
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


class Whole:
    """All weights of an encoder that is shared out, in a copy that each process has to itself.

    What every process does alone needs it: evaluating, which is as many calls as samples stand,
    and saving.

    Args:
        encoder: before it is shared out; it is copied.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Take the weights of the shared-out ``encoder``; every process must do so at once."""
        ours, theirs = self.encoder.state_dict(), encoder.state_dict()
        for name, tensor in ours.items():
            tensor.copy_(put_together(theirs[name]))


def put_together(tensor: Tensor) -> Tensor:
    """All of ``tensor``, of which each process may have a part; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def shared_as(tensor: Tensor, other: Tensor) -> Tensor:
    """``tensor``, which every process has, shared out as ``other`` is."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
