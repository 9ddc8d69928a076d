"""TRADES on the text head (Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically principled
trade-off between robustness and accuracy", ICML 2019, arXiv 1901.08573).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import LogitScale, Needs, Objective, StepContext, register_objective
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.lazy import Tensor


@register_objective("trades", "TRADES", arxiv="1901.08573")
@dataclass(frozen=True)
class TRADES(Objective):
    """``CE(P_S(x), y) + beta KL(P_S(x) || P_S(x'))``, means over samples.

    The classifier's head is the frozen text. x' comes from PGD that maximises the same
    divergence, P_S(x) held fixed; in the loss the gradient flows through both. The authors start
    their attack at the image plus normal noise of deviation 0.001, here it starts uniformly in
    the ball as every other attack does.

    Attributes:
        beta: weight of the KL divergence, 0 or more; 6 in the authors' CIFAR-10 script.
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.
    """

    beta: float = 6.0
    logit_scale: LogitScale = "model"

    @property
    def needs(self) -> Needs:
        """The student on both views."""
        return Needs(student=frozenset({"adversarial", "clean"}), attack="student")

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Divergence from the prediction on the clean image, one value a sample (N,)."""
        clean = self.logits(step.student["clean"], step)
        return kl_divergence(clean, self.logits(embeddings, step))

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``natural`` and ``divergence``."""
        clean = self.logits(step.student["clean"], step)
        adversarial = self.logits(step.student["adversarial"], step)
        natural = step.mean(cross_entropy(clean, step.labels))
        divergence = step.mean(kl_divergence(clean, adversarial))
        total = natural + self.beta * divergence
        return {"total": total, "natural": natural, "divergence": divergence}
