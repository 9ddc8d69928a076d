"""Snapshots of models from before their first query, to detect models that keep state.

A copy of a module does not share what the module learns afterwards, except what lies outside of
it: a global, or a variable of a function that it calls. A process forked before the first query
shares none of that either.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from zsrobust.evaluation.checks.probe import in_batches

PATIENCE = 600.0
"""Seconds that a forked process has for an answer; a copy answers then."""


class Snapshot:
    """A model as it was before its first query.

    Args:
        model: images (N, 3, H, W) to logits (N, C); not queried yet.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = _copied(model)
        self._weights = _versions(model)
        self.forked: tuple[Connection, int] | None = None

    def copy(self, model: nn.Module) -> nn.Module:
        """A copy that has not been queried; ``model`` itself where it cannot be copied."""
        return (_copied(self._model) if self._model is not None else None) or model

    def answers(self, model: nn.Module, images: Tensor) -> Tensor:
        """Logits (N, C) for ``images`` (N, 3, H, W) of a model that has seen no other query."""
        if self.forked is not None:
            found = _asked(*self.forked, images)
            if found is not None:
                return found
            self.forked = None
        return logits_of(self.copy(model), images)

    def weights_moved(self, model: nn.Module) -> bool:
        """Whether a parameter was written to since, as by adaptation at test time."""
        return _versions(model) != self._weights


_SNAPSHOTS: WeakKeyDictionary[nn.Module, Snapshot] = WeakKeyDictionary()


def snapshot_of(model: nn.Module) -> Snapshot:
    """The snapshot that :func:`snapshots` took of ``model``."""
    return _SNAPSHOTS[model]


@contextmanager
def snapshots(models: Sequence[nn.Module], *, fork: bool) -> Iterator[None]:
    """Take snapshots of ``models``, before their first query, for the length of the block.

    A model that an outer block took a snapshot of uses that one.

    Args:
        models: images (N, 3, H, W) to logits (N, C).
        fork: let processes that are forked now answer for them; on Linux alone, and of models on
            the CPU alone.
    """
    new = [model for model in models if model not in _SNAPSHOTS]
    _SNAPSHOTS.update({model: Snapshot(model) for model in new})
    try:
        with _forked(new) if fork and new and _may_fork(new) else nullcontext():
            yield
    finally:
        for model in new:
            del _SNAPSHOTS[model]


@contextmanager
def _forked(models: Sequence[nn.Module]) -> Iterator[None]:
    ours, theirs = multiprocessing.Pipe()
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=_serve, args=(ours, theirs, models), daemon=True)
    try:
        process.start()
    except OSError:  # There is no memory for it: copies answer then.
        yield
        return
    theirs.close()
    for place, model in enumerate(models):
        _SNAPSHOTS[model].forked = (ours, place)
    try:
        yield
    finally:
        process.kill()
        process.join()
        ours.close()


def _may_fork(models: Sequence[nn.Module]) -> bool:
    if multiprocessing.current_process().daemon:
        return False  # It may have no children.
    tensors = [tensor for model in models for tensor in (*model.parameters(), *model.buffers())]
    return sys.platform == "linux" and all(tensor.device.type == "cpu" for tensor in tensors)


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, C) in fp32 of ``images`` (N, 3, H, W), few at a time."""
    return in_batches(lambda part: model(part).float(), images)


def _serve(ours: Connection, theirs: Connection, models: Sequence[nn.Module]) -> None:
    """Answer every question from a process of its own, so that this one is never asked."""
    ours.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Threads of the parent are not here, and a pool that counts on them would wait for ever.
    torch.set_num_threads(1)
    while True:
        try:
            place, pixels, seed = theirs.recv()
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            code = 1
            try:
                torch.manual_seed(seed)
                theirs.send(logits_of(models[place], torch.from_numpy(pixels)).numpy())
                code = 0
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1] != 0:
            theirs.send(None)


def _asked(process: Connection, place: int, images: Tensor) -> Tensor | None:
    """The answer of a forked process; None where it gave none."""
    # Two questions of one model that draws random numbers draw different ones.
    seed = int(torch.randint(2**31, ()))
    try:
        process.send((place, images.numpy(), seed))
        answer = process.recv() if process.poll(PATIENCE) else None
    except (OSError, EOFError):
        return None
    return None if answer is None else torch.from_numpy(answer)


def _copied(model: nn.Module) -> nn.Module | None:
    """A copy that shares the parameters, and nothing else; None where a part cannot be copied."""
    shared: dict[int, object] = {id(weight): weight for weight in model.parameters()}
    try:
        return copy.deepcopy(model, shared)
    except Exception:
        return None


def _versions(model: nn.Module) -> list[tuple[int, int]]:
    return [(id(weight), weight._version) for weight in model.parameters()]
