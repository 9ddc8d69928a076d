"""Distances of two predictions or embeddings, one value a sample."""

from __future__ import annotations

from zsrobust.utils.lazy import F, Tensor


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
