"""FT-Adv: adversarial training with a classifier of its own in the place of the text, a baseline
in the tables of TGA-ZSR (arXiv 2410.21802).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import Objective, StepContext, register_objective
from zsrobust.utils.lazy import Tensor, nn, torch


@register_objective("ft_adv", "FT-Adv")
@dataclass(frozen=True)
class FTAdv(Objective):
    """``CE(W S(x') + b, y)``, the mean over samples; x' from PGD on the same cross-entropy.

    The linear layer takes raw embeddings, starts from PyTorch's random weights (keyed by the
    run's seed), is trained with the encoder by the same optimizer, and is dropped after
    training: the fine-tuned encoder is evaluated with the text, as every other.
    """

    def head(self, dim: int, classes: int, seed: int) -> nn.Module:
        """A linear layer from embeddings (N, dim) to logits (N, classes)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Linear(dim, classes)

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Cross-entropy of the linear layer, one value a sample (N,)."""
        assert step.head is not None
        logits: Tensor = step.head(embeddings.float())
        return cross_entropy(logits, step.labels)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """Cross-entropy of the linear layer on adversarial images."""
        return {"total": step.mean(self.attack_loss(step.student["adversarial"], step))}
