"""The worst of several tries on each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zsrobust.attacks.base import refuse_nan
from zsrobust.utils.lazy import Tensor, torch

Try = Callable[[Tensor], Tensor]
"""Rows of a batch (M,) to adversarial images of these samples (M, 3, H, W)."""


def worst_of(
    tries: Iterable[Try],
    logits_fn: Callable[[Tensor], Tensor],
    score: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
) -> Tensor:
    """Each sample's first result that fools, else its last one of the highest score.

    A misclassified sample is not tried again, so the verdicts are those of trying everything.

    Args:
        tries: made one after the other, each on the samples still standing.
        logits_fn: images (M, 3, H, W) to logits (M, C), for any M.
        score: logits (M, C) and labels (M,) to one value a sample (M,).
        images: what is attacked, (N, 3, H, W).
        labels: true classes, (N,).

    Raises:
        RunError: if a logit is NaN.
    """
    result = images.clone()
    highest = torch.full((len(images),), -torch.inf, device=images.device)
    standing = torch.arange(len(images), device=images.device)
    for attempt in tries:
        if len(standing) == 0:
            break
        adversarial = attempt(standing)
        with torch.no_grad():
            logits = logits_fn(adversarial)
            scores = score(logits, labels[standing])
        # NaN compares as no class at all, and would pass for a success.
        refuse_nan(logits.isnan().any(), "logit")
        fallen = logits.argmax(-1) != labels[standing]
        better = fallen | (scores >= highest[standing])
        result[standing[better]] = adversarial[better]
        highest[standing[better]] = scores[better]
        standing = standing[~fallen]
    return result
