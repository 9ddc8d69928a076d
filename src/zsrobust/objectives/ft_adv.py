"""FT-Adv: adversarial training with a classifier of its own in the place of the text, a baseline
in the tables of TGA-ZSR (arXiv 2410.21802).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.base import Models, Needs, Objective, Outputs, View, share
from zsrobust.objectives.crafting import away
from zsrobust.utils.lazy import Tensor, nn, torch


@dataclass(frozen=True)
class FTAdv(Objective):
    """``CE(W S(x') + b, y)``, the mean over samples; x' from PGD on the same cross-entropy.

    The linear layer takes raw embeddings, starts from PyTorch's random weights (keyed by the
    run's seed), is trained beside the encoder by the same optimiser, and is left behind: the
    fine-tuned encoder is judged with the text, as every other.
    """

    @property
    def label(self) -> str:
        """Its name in results."""
        return "ft_adv"

    @property
    def needs(self) -> Needs:
        """The student on adversarial images."""
        return Needs(student=frozenset({"crafted"}))

    def head(self, dim: int, classes: int, seed: int) -> nn.Module:
        """A linear layer from embeddings (N, dim) to logits (N, classes)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Linear(dim, classes)

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Adversarial images of the model in training with the linear layer on top."""
        return away(
            models.classifier,
            lambda embeddings: _cross_entropy(embeddings, batch.labels, models),
            batch,
            attack,
            epoch,
        )

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """Cross-entropy of the linear layer on adversarial images."""
        values = _cross_entropy(outputs.student["crafted"], labels, models)
        return {"total": share(values, "mean", global_batch)}


def _cross_entropy(embeddings: Tensor, labels: Tensor, models: Models) -> Tensor:
    assert models.head is not None
    logits: Tensor = models.head(embeddings.float())
    return cross_entropy(logits, labels)
