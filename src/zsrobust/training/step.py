"""One training step: craft, look, compare, and move the weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from zsrobust.attacks import PGD
from zsrobust.data.batch import Batch
from zsrobust.models.patch_tokens import embed_with_tokens
from zsrobust.objectives import Objective
from zsrobust.objectives.base import Models, Outputs, View
from zsrobust.training.sharding import put_together
from zsrobust.training.student import Student
from zsrobust.utils.errors import Diverged, NonFinite


@dataclass
class TrainingStep:
    """Everything a step needs, set up once.

    Attributes:
        objective: what images to train on and what to lose.
        attack: PGD as the objective may use it.
        student: the model in training, as prepared for several processes.
        models: the same encoder as a zero-shot classifier, which the attack sees, and what else
            the objective compares embeddings with.
        original: the frozen original encoder.
        optimizer: over the student's parameters.
        accelerator: devices and processes.
        bf16: run the update's forward passes in bfloat16.
        attack_bf16: run those of the attack in bfloat16. Pixels, their gradients and steps stay
            fp32, and so do logits and losses in both.
        clip_norm: largest norm of the whole gradient, None for none.
    """

    objective: Objective
    attack: PGD
    student: nn.Module
    models: Models
    original: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    bf16: bool = False
    attack_bf16: bool = False
    clip_norm: float | None = None

    def __call__(
        self, parts: Sequence[Batch], *, epoch: int, global_batch: int
    ) -> dict[str, float]:
        """Move the weights once on this process's ``parts`` of a batch of ``global_batch``.

        Returns the loss parts, ``grad_norm``, and the accuracies that came for free, all over
        the global batch.

        Raises:
            NonFinite: on every process alike, if loss or gradient is not finite; weights and stored
                statistics are then as before.
        """
        self.student.train()
        before = [buffer.clone() for buffer in self.student.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for index, loaded in enumerate(parts):
            batch = loaded.to(self.accelerator.device)
            last = index == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.student):
                losses, accuracies = self._forward(batch, epoch, global_batch)
                # Data-parallel training averages gradients over processes; ours are shares of
                # one global reduction and must add up. (accelerate's own backward would divide
                # by an accumulation that its environment may ask for.)
                (losses["total"] * self.accelerator.num_processes).backward()
            for key, value in {**losses, **accuracies}.items():
                sums[key] = sums.get(key, 0) + value.detach().float()
        figures = self._over_processes(sums)
        norm = nn.utils.clip_grad_norm_(
            self.student.parameters(), float("inf") if self.clip_norm is None else self.clip_norm
        )
        figures["grad_norm"] = float(put_together(norm))
        for key in ("total", "grad_norm"):
            if not abs(figures[key]) < float("inf"):
                for buffer, value in zip(self.student.buffers(), before, strict=True):
                    buffer.copy_(value)
                what = "loss" if key == "total" else "gradient"
                raise NonFinite(f"{what} is {figures[key]}", figures)
        self.optimizer.step()
        return figures

    def _forward(
        self, batch: Batch, epoch: int, global_batch: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        needs = self.objective.needs
        images: dict[View, Tensor] = {"clean": batch.images}
        teacher, teacher_tokens = self._original(images, needs.teacher & {"clean"})
        images["crafted"] = self._craft(batch, epoch, teacher)
        more, more_tokens = self._original(images, needs.teacher & {"crafted"})
        with self._autocast(self.bf16):
            student, student_tokens = self.student(
                {view: images[view] for view in sorted(needs.student)}
            )
        outputs = Outputs(student, teacher | more, student_tokens, teacher_tokens | more_tokens)
        losses = self.objective.loss(outputs, batch.labels, self.models, global_batch)
        accuracies = {}
        for view, embeddings in student.items():
            attacked = view == "crafted" and images["crafted"] is not batch.images
            logits = self.models.classifier.logits(embeddings.detach())
            right = (logits.argmax(-1) == batch.labels).sum()
            accuracies["adversarial_acc" if attacked else "clean_acc"] = right / global_batch
        return losses, accuracies

    def _craft(self, batch: Batch, epoch: int, teacher: Mapping[View, Tensor]) -> Tensor:
        try:
            with self._autocast(self.attack_bf16):
                return self.objective.craft(self.models, batch, self.attack, epoch, teacher)
        except Diverged:
            # Only this process knows. Images without a value make the loss of all without one.
            return torch.full_like(batch.images, float("nan"))

    def _original(
        self, images: dict[View, Tensor], views: Iterable[View]
    ) -> tuple[dict[View, Tensor], dict[View, Tensor]]:
        """The original's raw embeddings by view, and its patch tokens where needed."""
        embeddings: dict[View, Tensor] = {}
        tokens: dict[View, Tensor] = {}
        with self._autocast(self.bf16), torch.no_grad():
            for view in views:
                pixels = self.models.classifier.preprocessing(images[view])
                if self.objective.needs.tokens:
                    embeddings[view], tokens[view] = embed_with_tokens(self.original, pixels)
                else:
                    embeddings[view] = self.original(pixels)
        return embeddings, tokens

    @contextmanager
    def _autocast(self, bf16: bool) -> Iterator[None]:
        with torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16):
            yield

    def _over_processes(self, sums: dict[str, Tensor]) -> dict[str, float]:
        stacked: Tensor = self.accelerator.reduce(torch.stack(list(sums.values())), "sum")
        return dict(zip(sums, stacked.tolist(), strict=True))


def make_optimizer(
    student: Student, name: str, *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """SGD or AdamW over every parameter of ``student`` that its architecture does not fix."""
    parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
    if name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
