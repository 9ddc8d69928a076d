"""Distributed runs: the accelerator, and work that only the first process does."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list

from zsrobust.utils.devices import torch_device
from zsrobust.utils.errors import RequestError, ZSRobustError

T = TypeVar("T")

# How long a process waits in a collective: for whatever the first one has to do alone. That others
# are alive at all is seen by ``zsrobust.utils.watchdog``.
PATIENCE = timedelta(days=1)
OTHER_WAYS = ("FSDP", "DEEPSPEED", "MEGATRON_LM")


@atexit.register
def _leave() -> None:
    """Destroy the group before the interpreter exits: its threads may abort otherwise."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def make_accelerator(device: str) -> Accelerator:
    """Devices and processes, whatever the launcher's environment says about precision.

    Raises:
        RequestError: if the device is not here, this Python process already runs on another, or
            the launcher asks for another way of distributed training.
    """
    for way in OTHER_WAYS:
        if os.environ.get(f"ACCELERATE_USE_{way}", "false").lower() == "true":
            raise RequestError(
                f"the launcher sets ACCELERATE_USE_{way}: launch without it, and use --shard true "
                "to shard the weights"
            )
    wanted = torch_device(device)
    try:
        # Precision and accumulation are the configuration's alone.
        accelerator = Accelerator(
            cpu=wanted.type == "cpu",
            mixed_precision="no",
            gradient_accumulation_steps=1,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    except ValueError as error:
        raise RequestError(f"device {device} cannot be used: {error}") from error
    if accelerator.device.type != wanted.type:
        raise RequestError(
            f"device {device} cannot be used: this process already runs on {accelerator.device}"
        )
    return accelerator


def on_first(accelerator: Accelerator, do: Callable[[], T]) -> T:
    """The result of ``do``, called on the first process alone; its failure fails every process.

    Otherwise the other processes would wait for it for ever.
    """
    outcome: list[Any] = [None, None]
    if accelerator.is_main_process:
        try:
            outcome[0] = do()
        except ZSRobustError as error:
            outcome[1] = error
    broadcast_object_list(outcome)
    result, problem = outcome
    if problem is not None:
        raise problem
    return result  # type: ignore[no-any-return]
