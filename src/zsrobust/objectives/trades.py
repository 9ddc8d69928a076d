"""TRADES on the text head (Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically principled
trade-off between robustness and accuracy", ICML 2019, arXiv 1901.08573).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd_attack import PGD
from zsrobust.data.batch import Batch
from zsrobust.objectives.base import (
    Models,
    Needs,
    Objective,
    Outputs,
    View,
    bracketed,
    check_scale,
    check_weights,
    departures,
    kl_divergence,
    scale_of,
    share,
)
from zsrobust.objectives.crafting import away, clean_embeddings
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import check_types


@dataclass(frozen=True)
class TRADES(Objective):
    """``CE(P_S(x), y) + beta KL(P_S(x) || P_S(x'))``, means over samples.

    The classifier's head is the frozen text. x' comes from PGD that maximises the same
    divergence, P_S(x) held fixed; in the loss the gradient flows through both. The authors start
    their attack at the image plus normal noise of deviation 0.001, here it starts uniformly in
    the ball as every other attack does.

    Attributes:
        beta: weight of the divergence, 0 or more; 6 as in the authors' CIFAR-10 script.
        logit_scale: what multiplies the cosines in the loss and in the attack; ``model`` for the
            model's own.

    Raises:
        RequestError: if ``beta`` is negative or ``logit_scale`` not above 0.
    """

    beta: float = 6.0
    logit_scale: float | Literal["model"] = "model"

    def __post_init__(self) -> None:
        check_types(self, "objective.")
        check_weights(self, "beta")
        check_scale(self.logit_scale)

    @property
    def label(self) -> str:
        """``trades``, or ``trades[beta=1.0]`` where options depart from the defaults."""
        return bracketed("trades", departures(self, type(self)()))

    @property
    def needs(self) -> Needs:
        """The student on both views."""
        both: frozenset[View] = frozenset({"crafted", "clean"})
        return Needs(student=both, random_start=True, clean_first=True)

    def craft(
        self,
        models: Models,
        batch: Batch,
        attack: PGD,
        epoch: int,
        teacher: Mapping[View, Tensor],
    ) -> Tensor:
        """Images whose prediction diverges from that of the clean ones."""
        classifier, scale = models.classifier, scale_of(self.logit_scale)
        clean = classifier.logits(clean_embeddings(classifier, batch), scale)
        return away(
            classifier,
            lambda embeddings: kl_divergence(clean, classifier.logits(embeddings, scale)),
            batch,
            attack,
            epoch,
        )

    def loss(
        self, outputs: Outputs, labels: Tensor, models: Models, global_batch: int
    ) -> dict[str, Tensor]:
        """``total``, and the unweighted ``natural`` and ``divergence``."""
        scale = scale_of(self.logit_scale)
        clean = models.classifier.logits(outputs.student["clean"], scale)
        crafted = models.classifier.logits(outputs.student["crafted"], scale)
        natural = share(cross_entropy(clean, labels), "mean", global_batch)
        divergence = share(kl_divergence(clean, crafted), "mean", global_batch)
        total = natural + self.beta * divergence
        return {"total": total, "natural": natural, "divergence": divergence}
