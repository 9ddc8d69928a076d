"""What an attack makes larger: one value a sample, from logits (N, C) and class indices (N,)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import F, Tensor, torch

LossName = Literal["ce", "margin", "dlr", "targeted"]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits (N, C) with labels (N,), one value a sample (N,)."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other logit minus the true one, (N,): above 0 exactly where misclassified.

    Carlini and Wagner's f6, without their confidence ("Towards evaluating the robustness of neural
    networks", S&P 2017, arXiv 1608.04644). The true class is masked with minus infinity: multiplied
    by 0 instead, it would win wherever all other logits are negative.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - logits.gather(1, labels[:, None]).squeeze(1)


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """Difference of logits ratio, (N,): the margin over the gap from first to third logit.

    Neither scale nor shift of the logits changes it (Croce and Hein, "Reliable evaluation of
    adversarial robustness with an ensemble of diverse parameter-free attacks", ICML 2020, eq. 6).

    Raises:
        RequestError: if there are fewer than 3 classes.
    """
    if logits.shape[1] < 3:
        raise RequestError(f"the DLR loss needs 3 classes or more, not {logits.shape[1]}")
    highest = logits.topk(3, dim=1).values
    return margin(logits, labels) / (highest[:, 0] - highest[:, 2] + 1e-12)


def dlr_towards(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The DLR loss that aims at one other class, (N,) (the same paper, eq. 7).

    Raises:
        RequestError: if there are fewer than 4 classes.
    """
    if logits.shape[1] < 4:
        raise RequestError(f"the targeted DLR loss needs 4 classes or more, not {logits.shape[1]}")
    highest = logits.topk(4, dim=1).values
    aim = logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])
    gap = highest[:, 0] - (highest[:, 2] + highest[:, 3]) / 2
    return aim.squeeze(1) / (gap + 1e-12)


def towards(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the cross-entropy with the class to reach, (N,): largest where it wins outright."""
    return -cross_entropy(logits, targets)


LOSSES: dict[LossName, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": cross_entropy,
    "margin": margin,
    "dlr": dlr,
    "targeted": towards,
}


def likeliest_others(logits: Tensor, labels: Tensor, count: int) -> list[Tensor]:
    """The ``count`` classes of highest logit besides the label, best first: (N,) each.

    There are at most C - 1.
    """
    others = logits.scatter(1, labels[:, None], -torch.inf)
    order = others.argsort(dim=1, descending=True, stable=True)
    return list(order[:, : min(count, logits.shape[1] - 1)].unbind(1))
