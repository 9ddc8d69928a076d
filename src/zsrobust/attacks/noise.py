"""The baseline ``noise-K``: how much is lost to changes that nobody chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.base import Attack, register_attack
from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.validation import check_types, require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


@register_attack(r"noise-(?P<draws>\d+)", "noise-10")
@dataclass(frozen=True)
class Noise(Attack):
    """The worst of several uniform draws from the threat model; no gradient, no search.

    Attributes:
        threat: norm, radius and pixel range.
        draws: how many, 1 or more; a misclassified sample is not tried again.
        seed: keys the draws, with each sample's id and the draw's number.

    Raises:
        RequestError: if draws is below 1.
    """

    threat: ThreatModel
    draws: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, "attack.")
        require(self.draws >= 1, "attack.draws", self.draws, "1 or more")

    @property
    def name(self) -> str:
        """``noise-10`` for ten draws."""
        return f"noise-{self.draws}"

    @property
    def black_box(self) -> bool:
        """True."""
        return True

    @property
    def passes(self) -> int:
        """A forward pass a draw."""
        return self.draws

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """Each sample's first misclassified draw, else its draw of highest cross-entropy."""

        def draw(rows: Tensor, number: int) -> Tensor:
            ids = [sample_ids[row] for row in rows.tolist()]
            noise = uniform_noise(
                images[rows],
                ids,
                seed=self.seed,
                purpose="noise",
                epoch=epoch,
                restart=number,
            )
            return self.threat.start(images[rows], noise)

        draws = [partial(draw, number=number) for number in range(self.draws)]
        return worst_of(draws, classifier, cross_entropy, images, labels)
