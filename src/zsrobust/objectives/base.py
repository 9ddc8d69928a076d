"""What every fine-tuning objective is: the images it trains on, what it reads, its loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from torch import Tensor
from torch.nn import functional as F

from zsrobust.attacks.pgd_attack import PGD
from zsrobust.checks import require
from zsrobust.data.batch import Batch
from zsrobust.models.zero_shot import ZeroShotClassifier

View: TypeAlias = Literal["crafted", "clean"]
"""``clean`` is the image x as loaded; ``crafted`` is x', what the objective made of it."""

Reduction: TypeAlias = Literal["mean", "sum"]


@dataclass(frozen=True)
class Needs:
    """Which images each encoder must see for the loss; nothing else is computed."""

    student: frozenset[View]
    teacher: frozenset[View] = frozenset()


@dataclass(frozen=True)
class Outputs:
    """Raw embeddings (N, dim) by view, of the model in training and of the frozen original."""

    student: dict[View, Tensor]
    teacher: dict[View, Tensor]


class Objective(Protocol):
    """A fine-tuning objective. A frozen dataclass: its fields are its options in a recipe."""

    @property
    def label(self) -> str:
        """Its name in results, with the preset and what departs from it."""
        ...

    @property
    def needs(self) -> Needs:
        """What :meth:`loss` reads."""
        ...

    def craft(
        self, classifier: ZeroShotClassifier, batch: Batch, attack: PGD, epoch: int
    ) -> Tensor:
        """The images x' to train on, (N, 3, H, W) in [0, 1]: adversarial ones, or the clean."""
        ...

    def loss(
        self, outputs: Outputs, labels: Tensor, classifier: ZeroShotClassifier, global_batch: int
    ) -> dict[str, Tensor]:
        """``total`` and its named parts, scalars in fp32.

        Each is this process's share of a reduction over all ``global_batch`` samples of a step,
        so shares add up over processes and accumulation steps.
        """
        ...


def share(per_sample: Tensor, reduction: Reduction, global_batch: int) -> Tensor:
    """These samples' (N,) share of the sum or the mean over a batch of ``global_batch``."""
    total = per_sample.float().sum()
    return total / global_batch if reduction == "mean" else total


def kl_divergence(p_logits: Tensor, q_logits: Tensor) -> Tensor:
    """KL(P || Q) of the softmax of two logit tensors (N, C), one value a sample (N,), in fp32.

    From log-softmax: the quotient of two softmax outputs is NaN once one underflows.
    """
    log_p = F.log_softmax(p_logits.float(), dim=-1)
    log_q = F.log_softmax(q_logits.float(), dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def check_scale(value: float | Literal["model"] | None) -> None:
    """Refuse a logit scale that is not above 0.

    Raises:
        RequestError: if it is 0 or less.
    """
    require(
        not isinstance(value, int | float) or value > 0,
        "objective.logit_scale",
        value,
        "above 0, or 'model' for the model's own",
    )


def scale_of(logit_scale: float | Literal["model"] | None) -> float | None:
    """The number to hand to a classifier, where None means its own."""
    return None if logit_scale in ("model", None) else float(logit_scale)
