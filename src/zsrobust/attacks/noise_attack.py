"""The baseline ``noise-K``: how much is lost to changes that nobody chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.samples import require_samples
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.validation import check_types, require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class Noise:
    """The worst of several uniform draws from the threat model; no gradient, no search.

    Attributes:
        threat: norm, radius and pixel range.
        draws: how many, 1 or more; a sample that fell is not tried again.
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
    def chunk(self) -> None:
        """None: a sample is attacked alike in any company."""
        return None

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the result file."""
        return {**asdict(self), "name": self.name, "chunk": self.chunk}

    def __call__(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
    ) -> Tensor:
        """Each sample's first draw that fools, else its draw of highest cross-entropy.

        ``images`` (N, 3, H, W) in [0, 1] with true ``labels`` (N,).

        Raises:
            RunError: if a logit is NaN.
        """
        require_samples(self.threat, classifier, images, labels, sample_ids)
        images = images.detach()
        with frozen(classifier):
            draws = [
                partial(self._one_draw, images, sample_ids, number) for number in range(self.draws)
            ]
            return worst_of(draws, classifier, cross_entropy, images, labels)

    def _one_draw(
        self, images: Tensor, sample_ids: Sequence[str], number: int, rows: Tensor
    ) -> Tensor:
        ids = [sample_ids[row] for row in rows.tolist()]
        noise = uniform_noise(images[rows], ids, seed=self.seed, purpose="noise", restart=number)
        return self.threat.start(images[rows], noise)
