"""AdvFLYP: fine-tune like you pre-train (Xing, Wang, Zhao, Gu, Torr, Sebe, "Finetune like you
pretrain: boosting zero-shot adversarial robustness in vision-language models", arXiv 2604.11576).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import LogitScale, Needs, Objective, StepContext, register_objective
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.lazy import F, Tensor, torch


@register_objective("adv_flyp", "AdvFLYP", arxiv="2604.11576")
@dataclass(frozen=True)
class AdvFLYP(Objective):
    """CLIP's contrastive loss on adversarial images, kept near to the original and to clean images.

    ``NCE(x') + alpha (KL(P_S(x') || P_T(x')) + KL(P_S(x') || P_S(x)))
    + beta (|s(x') - t(x')| + |s(x') - s(x)|)``, means over samples, as the authors' code computes
    them. ``P`` is the softmax over the texts of the batch, one for each image, and ``NCE`` the mean
    of the cross-entropies of each image among these texts and of each text among the images; ``s``
    and ``t`` are unit embeddings. x' comes from PGD on ``NCE``.

    A text is the prompt of the image's class, where the authors train on images with captions.
    The batch is what one process sees at once: with ``accumulate`` or several processes a part.
    Images of one class count as wrong for each other.

    Attributes:
        alpha: weight of the KL divergences, 0 or more; ``lambda_logit`` in the authors' code.
        beta: weight of the embedding distances, 0 or more; ``lambda_feat`` in the authors' code.
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.
    """

    alpha: float = 1.0
    beta: float = 1.0
    logit_scale: LogitScale = "model"

    @property
    def needs(self) -> Needs:
        """The student on both views where it is held near, the original on adversarial images."""
        near = self.alpha > 0 or self.beta > 0
        return Needs(
            student=frozenset({"adversarial", "clean"} if near else {"adversarial"}),
            teacher=frozenset({"adversarial"} if near else ()),
            apart=self.beta > 0,
        )

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """The contrastive loss in the batch, one value a sample (N,)."""
        return contrastive(self._pairs(embeddings, step))

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``robust``, ``divergence`` and ``distance``."""
        adversarial = step.student["adversarial"]
        pairs = self._pairs(adversarial, step)
        parts = {"robust": step.mean(contrastive(pairs))}
        total = parts["robust"]
        if not self.needs.teacher:
            return {"total": total, **parts}
        others = (step.teacher["adversarial"], step.student["clean"])
        if self.alpha > 0:
            divergences = [kl_divergence(pairs, self._pairs(other, step)) for other in others]
            parts["divergence"] = step.mean(divergences[0] + divergences[1])
            total = total + self.alpha * parts["divergence"]
        if self.beta > 0:
            own = F.normalize(adversarial.float(), dim=-1)
            distances = [
                torch.linalg.vector_norm(own - F.normalize(other.float(), dim=-1), dim=-1)
                for other in others
            ]
            parts["distance"] = step.mean(distances[0] + distances[1])
            total = total + self.beta * parts["distance"]
        return {"total": total, **parts}

    def _pairs(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Logits (N, N) of each image and each image's text."""
        return self.logits(embeddings, step)[:, step.labels]


def contrastive(pairs: Tensor) -> Tensor:
    """CLIP's loss of logits (N, N) of images and their texts, one value a pair (N,)."""
    own = torch.arange(len(pairs), device=pairs.device)
    return (cross_entropy(pairs, own) + cross_entropy(pairs.T, own)) / 2
