"""What every fine-tuning objective is: the images it trains on, what it reads, its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.utils.lazy import F, Tensor, nn
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

View: TypeAlias = Literal["crafted", "clean"]
"""``clean`` is the image x as loaded; ``crafted`` is x', what the objective made of it."""

Reduction: TypeAlias = Literal["mean", "sum"]


@dataclass(frozen=True)
class Needs:
    """Which images each encoder must see for the loss; nothing else is computed.

    Attributes:
        student: views for the model in training.
        teacher: views for the frozen original; its clean embeddings are there before crafting.
        tokens: patch tokens of every view beside its embedding; only ViTs of open_clip have them.
        attack: whether crafting attacks; else the crafted images are the clean ones.
        random_start: the attack must start beside the image, where the gradient of what it makes
            larger is zero.
        clean_first: whether crafting begins with the student's own look at the clean images.
    """

    student: frozenset[View]
    teacher: frozenset[View] = frozenset()
    tokens: bool = False
    attack: bool = True
    random_start: bool = False
    clean_first: bool = False


@dataclass(frozen=True)
class Outputs:
    """What the model in training and the frozen original made of each view.

    ``student`` and ``teacher`` are raw embeddings (N, dim); ``student_tokens`` and
    ``teacher_tokens``, where ``Needs.tokens`` asks for them, patch tokens (N, patches, dim).
    """

    student: dict[View, Tensor]
    teacher: dict[View, Tensor]
    student_tokens: dict[View, Tensor] = field(default_factory=dict)
    teacher_tokens: dict[View, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Models:
    """What embeddings are compared with, the same in every step.

    Attributes:
        classifier: the encoder in training as a zero-shot classifier; what attacks see.
        texts: unit class vectors (C, dim) for each list of ``Objective.prompts``.
        head: what ``Objective.head`` made, trained together with the encoder.
    """

    classifier: ZeroShotClassifier
    texts: tuple[Tensor, ...] = ()
    head: nn.Module | None = None


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

    def prompts(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """Further descriptions of the classes, each a list with one text a class; mostly none.

        Raises:
            RequestError: if they are to come from a file that does not have them.
        """
        return ()

    def head(self, dim: int, classes: int, seed: int) -> nn.Module | None:
        """A module to train beside the encoder, from embeddings (N, dim); mostly none.

        It is kept in checkpoints and is no part of the fine-tuned model.
        """
        return None

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """The images x' to train on, (N, 3, H, W) in [0, 1]: adversarial ones, or the clean.

        ``teacher`` holds the original's raw embeddings of the clean images where ``needs`` asks
        for them.
        """
        ...

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
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


def squared_distance(one: Tensor, other: Tensor) -> Tensor:
    """Squared Euclidean distance of raw embeddings (N, dim), one value a sample (N,), in fp32."""
    return (one.float() - other.float()).square().sum(-1)


def cosine_distance(one: Tensor, other: Tensor) -> Tensor:
    """1 - cosine of embeddings (N, dim), one value a sample (N,), in fp32."""
    return 1 - F.cosine_similarity(one.float(), other.float(), dim=-1)


def logits_of(
    models: Models, embeddings: Tensor, vectors: Tensor, logit_scale: float | None
) -> Tensor:
    """Logits (N, C) of embeddings (N, dim) on other class vectors (C, dim) than the classifier's.

    ``logit_scale`` None is the classifier's.
    """
    from zsrobust.models.zero_shot import cosine_logits

    scale = models.classifier.logit_scale if logit_scale is None else logit_scale
    return scale * cosine_logits(embeddings, vectors)


def departures(objective: Objective, plain: Objective) -> list[str]:
    """``alpha=0.0`` and so on, for every option in which ``objective`` departs from ``plain``."""
    return [
        f"{key}={value}" for key, value in vars(objective).items() if value != getattr(plain, key)
    ]


def bracketed(name: str, parts: list[str]) -> str:
    """``name[a, b]``, or ``name`` alone where there are no parts."""
    return f"{name}[{', '.join(parts)}]" if parts else name


def check_weights(objective: Objective, *keys: str) -> None:
    """Refuse weights of terms that are below 0 or infinite.

    Raises:
        RequestError: naming the first.
    """
    for key in keys:
        value = getattr(objective, key)
        require(0 <= value < float("inf"), f"objective.{key}", value, "0 or more")


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
