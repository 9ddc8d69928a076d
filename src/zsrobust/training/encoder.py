"""The image encoder in training, in every form that a run has of it."""

from __future__ import annotations

import copy
import math
from functools import cached_property

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zsrobust.models.folding import folded_in_training
from zsrobust.models.low_rank import merged
from zsrobust.models.visual_prompts import embed_with_tokens, tower_of
from zsrobust.objectives.base import View
from zsrobust.training.sharding import apply_fsdp, full_tensor


class TrainedEncoder:
    """An image encoder that is trained, and all that is derived from its weights.

    ==================== ==========================================================================
    ``raw``              the encoder with its adapter: the parameters that the optimizer moves
    ``forward``          what attacks and updates call: ``raw``, with every BatchNorm folded into
                         the convolution before it where that changes no more than rounding
    ``student``          ``forward`` behind its preprocessing, called once a step; synchronises
                         gradients over processes
    ``evaluated``        what is evaluated and saved: the exponential moving average where there is
                         one, else ``raw``, or an unsharded copy of it where it is sharded
    ``checkpointed``     what a resumed run must get back: ``raw``, head and average
    ==================== ==========================================================================

    Args:
        encoder: preprocessed images (N, 3, S, S) to raw embeddings (N, dim), with its adapter.
        preprocessing: images in [0, 1] to what ``encoder`` takes.
        accelerator: devices and processes.
        train_batch_norm: let batch statistics normalise and move the stored ones; else BatchNorm
            stays as in evaluation.
        tokens: give patch tokens with the embeddings; the tower must have them.
        apart: forward each view in a batch of its own; always so with ``tokens``.
        head: a module of the loss on top of the embeddings, trained with them.
        ema: decay of the average of the weights over steps; None for no average.
        shard: let each process keep a part of every weight (FSDP).
    """

    def __init__(
        self,
        encoder: nn.Module,
        preprocessing: nn.Module,
        accelerator: Accelerator,
        *,
        train_batch_norm: bool = False,
        tokens: bool = False,
        apart: bool = False,
        head: nn.Module | None = None,
        ema: float | None = None,
        shard: bool = False,
    ) -> None:
        self.raw = encoder
        self.head = head
        self.average = None if ema is None else Average(encoder, ema)
        self.unsharded = UnshardedCopy(encoder) if shard and ema is None else None
        if shard:
            apply_fsdp(encoder, accelerator.device, accelerator.num_processes)
        # Sharded weights are gathered only while their own module runs, so they cannot be folded.
        self.forward = encoder if train_batch_norm or shard else folded_in_training(encoder)
        student = Student(
            self.forward,
            preprocessing,
            train_batch_norm=train_batch_norm,
            tokens=tokens,
            apart=apart,
            head=head,
        ).to(accelerator.device)
        if shard and head is not None:
            apply_fsdp(head, accelerator.device, accelerator.num_processes)
        self.student: nn.Module = student if shard else accelerator.prepare(student)

    @property
    def evaluated(self) -> nn.Module:
        """What is evaluated and saved; of sharded weights as of the last :meth:`gather`."""
        other = self.average or self.unsharded
        return self.raw if other is None else other.encoder

    @property
    def checkpointed(self) -> nn.Module:
        """All that a checkpoint must bring back: encoder, head and average, in this order."""
        parts = [self.raw]
        if self.head is not None:
            parts.append(self.head)
        if self.average is not None:
            parts.append(self.average.encoder)
        return nn.ModuleList(parts) if len(parts) > 1 else self.raw

    @cached_property
    def parameter_counts(self) -> tuple[int, int]:
        """How many of the encoder's parameters are trained, and how many there are."""
        sizes = [(part.numel(), part.requires_grad) for part in self.raw.parameters()]
        return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)

    def trainable(self) -> list[nn.Parameter]:
        """Every parameter of encoder and head that is trained."""
        return [part for part in self.student.parameters() if part.requires_grad]

    def update_average(self) -> None:
        """Take the weights after a step into the average, where there is one."""
        if self.average is not None:
            self.average.update(self.raw)

    def gather(self) -> None:
        """Bring :attr:`evaluated` up to date; every process must call it at once."""
        if self.unsharded is not None:
            self.unsharded.update(self.raw)


class Student(nn.Module):
    """An image encoder behind its preprocessing, called once a step with every view it must see.

    One call a step lets distributed training synchronise once. Arguments are those of
    :class:`TrainedEncoder`; ``head`` is only here to be trained with the encoder.
    """

    def __init__(
        self,
        encoder: nn.Module,
        preprocessing: nn.Module,
        *,
        train_batch_norm: bool = False,
        tokens: bool = False,
        apart: bool = False,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.preprocessing = preprocessing
        self.train_batch_norm = train_batch_norm
        self.tokens = tokens
        self.apart = apart
        self.head = head

    def train(self, mode: bool = True) -> Student:
        """Training mode for everything but BatchNorm, unless that was asked for."""
        super().train(mode)
        if not self.train_batch_norm:
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, views: dict[View, Tensor]) -> tuple[dict[View, Tensor], dict[View, Tensor]]:
        """Raw embeddings (N, dim) by view of images (N, 3, H, W) in [0, 1], and patch tokens.

        The tokens (N, patches, dim) are an empty dictionary unless asked for.
        """
        if self.tokens:
            # Each view alone, as the original sees it: in another batch they would round otherwise,
            # and a distance of attention maps that should be 0 would have a gradient.
            found = {
                view: embed_with_tokens(self.encoder, self.preprocessing(images))
                for view, images in views.items()
            }
            embeddings = {view: both[0] for view, both in found.items()}
            return embeddings, {view: both[1] for view, both in found.items()}
        # In one batch, clean and adversarial images would share BatchNorm's statistics.
        parts = self.encoder.modules()
        if self.apart or any(isinstance(part, _BatchNorm) and part.training for part in parts):
            return {view: self._embed(images) for view, images in views.items()}, {}
        together = torch.cat(list(views.values()))
        lengths = [len(images) for images in views.values()]
        embedded = torch.split(self._embed(together), lengths)
        return dict(zip(views, embedded, strict=True)), {}

    def _embed(self, images: Tensor) -> Tensor:
        embeddings: Tensor = self.encoder(self.preprocessing(images))
        return embeddings


class Average:
    """An exponential moving average of an encoder's weights over training steps.

    After k updates it is ``decay`` of the average after k - 1 and the rest of the k-th weights. The
    average before the first is the encoder as it is given, so a short run stays near to where it
    began. Trained parameters are averaged, LoRA's factors each for itself, and so are the
    statistics of a BatchNorm that is in training. (torch's ``AveragedModel`` starts at the first
    update instead, and would round fixed parameters and counters anew at each.)

    Args:
        encoder: in training; it is copied.
        decay: between 0 and 1.
    """

    def __init__(self, encoder: nn.Module, decay: float) -> None:
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Take in the weights of ``encoder`` after a step."""
        for ours, theirs in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            if theirs.requires_grad:
                ours.lerp_(full_tensor(theirs), 1 - self.decay)
        for mean, now in zip(self.encoder.buffers(), encoder.buffers(), strict=True):
            if now.is_floating_point():
                mean.lerp_(now, 1 - self.decay)
            else:
                mean.copy_(now)


class UnshardedCopy:
    """All weights of a sharded encoder, in a copy that each process has to itself.

    What every process does alone needs it: evaluating, whose number of calls differs between
    processes, and saving.

    Args:
        encoder: before it is sharded; it is copied.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = copy.deepcopy(encoder).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Take the weights of the sharded ``encoder``; every process must do so at once."""
        ours, theirs = self.encoder.state_dict(), encoder.state_dict()
        for name, tensor in ours.items():
            tensor.copy_(full_tensor(theirs[name]))


@torch.no_grad()
def relative_l2_distance(tuned: nn.Module, original: nn.Module) -> float:
    """``||theta - theta_0|| / ||theta_0||`` over all parameters, accumulated in float64.

    The y-axis of PMG-AFT's Figure 2. theta are the weights that an image meets: with LoRA the sums,
    not the fixed weights. A visual prompt is no weight of the tower and leaves it where it was: 0.

    Args:
        tuned: an encoder that was ``original`` before training, with any adapter.
        original: a plain encoder.
    """
    weights = merged(tower_of(tuned))
    moved = size = 0.0
    for name, theirs in original.named_parameters():
        a, b = _double(weights[name]), _double(theirs)
        moved += float((a - b).square().sum())
        size += float(b.square().sum())
    return math.sqrt(moved / size)


def _double(values: Tensor) -> Tensor:
    # Apple's GPUs have no float64.
    return (values.cpu() if values.device.type == "mps" else values).double()
