"""One training step: adversarial examples, forward, loss, backward, update."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from zsrobust.attacks import PGD
from zsrobust.attacks.losses import cross_entropy
from zsrobust.data.batch import Batch
from zsrobust.models.trained_text import TrainedText
from zsrobust.models.visual_prompts import embed_with_tokens, without_attention_fast_path
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.objectives import Objective, StepContext
from zsrobust.objectives.base import HeadUpdates, View
from zsrobust.training.encoder import TrainedEncoder
from zsrobust.training.sharding import full_tensor
from zsrobust.utils.errors import Diverged, NonFinite, RequestError
from zsrobust.utils.own_code import blamed


@dataclass
class TrainingStep:
    """Everything a step needs, set up once.

    Attributes:
        objective: what images to train on, and the loss.
        attack: PGD as the objective may use it.
        encoder: in training.
        classifier: ``encoder.forward`` as a zero-shot classifier, which the attack sees.
        original: the frozen original encoder.
        optimizer: over ``encoder.trainable()``.
        accelerator: devices and processes.
        bf16: run the update's forward passes in bfloat16.
        attack_bf16: run those of the attack in bfloat16. Pixels, their gradients and steps stay
            fp32, and so do logits and losses in both.
        clip_norm: largest norm of the whole gradient, None for none.
        texts: further class vectors that the objective asked for, as in :class:`StepContext`.
        proxy: the further model that the objective asked for, frozen, over the same classes.
    """

    objective: Objective
    attack: PGD
    encoder: TrainedEncoder
    classifier: ZeroShotClassifier
    original: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    bf16: bool = False
    attack_bf16: bool = False
    clip_norm: float | None = None
    texts: tuple[Tensor, ...] = ()
    proxy: ZeroShotClassifier | None = None

    def __call__(
        self, parts: Sequence[Batch], *, epoch: int, global_batch: int, done: int = 0
    ) -> dict[str, float]:
        """Move the weights once on this process's ``parts`` of a batch of ``global_batch``.

        ``done`` is how many steps were taken before.

        Returns the loss parts, ``grad_norm``, ``head_grad_norm`` of a head with a rate of its own,
        and the accuracies that came for free, all over the global batch.

        Raises:
            NonFinite: on every process, if loss or gradient is not finite; weights and stored
                statistics are then as before.
        """
        student = self.encoder.student
        student.train()
        if isinstance(self.encoder.head, TrainedText):
            self.classifier.class_embeddings = self.encoder.head.class_vectors()
        before = [buffer.clone() for buffer in student.buffers()]
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for index, loaded in enumerate(parts):
            context = StepContext(
                self.classifier,
                loaded.to(self.accelerator.device),
                self.attack,
                epoch,
                global_batch,
                self.texts,
                self.encoder.head,
            )
            last = index == len(parts) - 1
            with nullcontext() if last else self.accelerator.no_sync(student):
                with blamed(type(self.objective), f"method {self.objective.label}"):
                    losses, accuracies = self._forward(context)
                self._require_gradient(losses)
                # Data-parallel training averages gradients over processes; ours are shares of
                # one global reduction and must add up. (accelerate's own backward would divide
                # by an accumulation that its environment may ask for.)
                (losses["total"] * self.accelerator.num_processes).backward()
            for key, value in {**losses, **accuracies}.items():
                sums[key] = sums.get(key, 0) + value.detach().float()
        figures = self._over_processes(sums)
        if self.encoder.head is not None and (done + 1) % self.objective.head_updates.every:
            # Without a gradient an optimizer changes neither the weights nor its moments.
            self.encoder.head.zero_grad(set_to_none=True)
        largest = float("inf") if self.clip_norm is None else self.clip_norm
        norms = ("grad_norm", "head_grad_norm")
        for key, group in zip(norms, self.optimizer.param_groups, strict=False):
            figures[key] = float(full_tensor(nn.utils.clip_grad_norm_(group["params"], largest)))
        for key in ("total", *norms):
            if not abs(figures.get(key, 0.0)) < float("inf"):
                for buffer, value in zip(student.buffers(), before, strict=True):
                    buffer.copy_(value)
                what = "loss" if key == "total" else "gradient"
                raise NonFinite(f"{what} is {figures[key]}", figures)
        self.optimizer.step()
        return figures

    def rehearse(self, n: int) -> None:
        """Compute a loss of the user's own once, on random embeddings of ``n`` samples.

        Raises:
            RequestError: if it reads what its needs do not name, returns no loss, or one without a
                gradient.
            RunError: if it fails otherwise, and is from a file.
        """
        kind = type(self.objective)
        if kind.__module__.startswith("zsrobust."):
            return
        needs, device = self.objective.needs, self.accelerator.device
        classes, dim = self.classifier.class_embeddings.shape

        def drawn(*shape: int) -> Tensor:
            return torch.randn(shape, device=device)

        views: tuple[View, ...] = ("clean", "adversarial")
        tokens = views if needs.tokens else ()
        context = StepContext(
            self.classifier,
            Batch(
                torch.zeros(n, 3, 1, 1, device=device),
                torch.arange(n, device=device) % classes,
                [str(place) for place in range(n)],
            ),
            self.attack,
            global_batch=n,
            texts=self.texts,
            head=self.encoder.head,
            proxy=drawn(n, classes) if needs.proxy else None,
            student={view: drawn(n, dim).requires_grad_() for view in needs.student},
            teacher={view: drawn(n, dim) for view in needs.teacher},
            student_tokens={view: drawn(n, 4, dim) for view in tokens if view in needs.student},
            teacher_tokens={view: drawn(n, 4, dim) for view in tokens if view in needs.teacher},
        )
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            self._autocast(self.bf16),
            blamed(kind, f"method {self.objective.label}"),
        ):
            self._require_gradient(self.objective.loss(context))

    def _require_gradient(self, losses: dict[str, Tensor]) -> None:
        if not losses["total"].requires_grad:
            raise RequestError(
                f"the loss of method {self.objective.label} has no gradient: it must be "
                "computed from step.student without detach or rounding"
            )

    def _forward(self, context: StepContext) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The loss and its parts, and accuracies, of one part of the batch."""
        needs, batch = self.objective.needs, context.batch
        images: dict[View, Tensor] = {"clean": batch.images}
        context = self._with_teacher(context, images, needs.teacher & {"clean"})
        images["adversarial"] = self._adversarial(context)
        context = self._with_teacher(context, images, needs.teacher & {"adversarial"})
        if self.proxy is not None:
            with self._autocast(self.bf16), torch.no_grad():
                embedded = self.proxy.embed(images["adversarial"])
                logits = self.proxy.logits(embedded, self.objective.scale)
            context = replace(context, proxy=logits)
        # In this order: another would round the gradients of weights differently.
        views: tuple[View, ...] = ("clean", "adversarial")
        with self._autocast(self.bf16):
            student, tokens = self.encoder.student(
                {view: images[view] for view in views if view in needs.student}
            )
        losses = self.objective.loss(replace(context, student=student, student_tokens=tokens))
        accuracies = {}
        for view, embeddings in student.items():
            attacked = view == "adversarial" and images["adversarial"] is not batch.images
            logits = self.classifier.logits(embeddings.detach())
            correct = (logits.argmax(-1) == batch.labels).sum()
            key = "adversarial_acc" if attacked else "clean_acc"
            accuracies[key] = correct / context.global_batch
            if attacked and "clean" not in student:
                # What else shows a collapse, where clean images are not seen.
                accuracies["adversarial_loss"] = context.mean(cross_entropy(logits, batch.labels))
        return losses, accuracies

    def _adversarial(self, context: StepContext) -> Tensor:
        try:
            with self._autocast(self.attack_bf16):
                return self.objective.adversarial(context)
        except Diverged:
            # Only this process knows. Images of NaN make the loss of all processes NaN.
            return torch.full_like(context.batch.images, float("nan"))

    def _with_teacher(
        self, context: StepContext, images: dict[View, Tensor], views: Iterable[View]
    ) -> StepContext:
        """``context`` with the original's raw embeddings and patch tokens of these ``views``."""
        embeddings, tokens = dict(context.teacher), dict(context.teacher_tokens)
        needs = self.objective.needs
        exact = without_attention_fast_path() if needs.apart else nullcontext()
        with self._autocast(self.bf16), torch.no_grad(), exact:
            for view in views:
                pixels = self.classifier.preprocessing(images[view])
                if needs.tokens:
                    embeddings[view], tokens[view] = embed_with_tokens(self.original, pixels)
                else:
                    embeddings[view] = self.original(pixels)
        return replace(context, teacher=embeddings, teacher_tokens=tokens)

    def _autocast(self, bf16: bool) -> torch.autocast:
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=bf16)

    def _over_processes(self, sums: dict[str, Tensor]) -> dict[str, float]:
        stacked: Tensor = self.accelerator.reduce(torch.stack(list(sums.values())), "sum")
        return dict(zip(sums, stacked.tolist(), strict=True))


def make_optimizer(
    encoder: TrainedEncoder,
    name: str,
    *,
    lr: float,
    momentum: float,
    weight_decay: float,
    head: HeadUpdates | None = None,
) -> torch.optim.Optimizer:
    """SGD or AdamW over everything that is trained.

    A head with a rate or a direction of its own is the second group, else a part of the first.
    ``peak`` of a group is the highest learning rate of its schedule.
    """
    parameters = encoder.trainable()
    groups: list[dict[str, Any]] = [{"params": parameters, "lr": lr, "peak": lr}]
    if encoder.head is not None and head is not None and head.apart:
        own = list(encoder.head.parameters())
        groups[0]["params"] = [part for part in parameters if part not in set(own)]
        rate = lr if head.lr is None else head.lr
        groups.append({"params": own, "lr": rate, "peak": rate, "maximize": head.ascend})
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)


def learning_rate(step: int, *, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of step ``step`` in 0 .. ``total_steps`` - 1: linear warm-up, then a cosine.

    Warm-up rises from ``peak / warmup_steps`` to ``peak``; the cosine then falls from ``peak``
    towards 0, which it would meet at step ``total_steps``. A warm-up of 0 starts at the peak; one
    that outlasts the run is cut off by its end.
    """
    if step < warmup_steps:
        return peak * ((step + 1) / warmup_steps)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
