"""What every attack is: images in, adversarial images out, with a name and its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.lazy import Tensor

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


class Attack(Protocol):
    """An attack on a zero-shot classifier within a threat model."""

    @property
    def name(self) -> str:
        """Its name in results, such as ``pgd-10``."""
        ...

    @property
    def threat(self) -> ThreatModel:
        """Where its results lie."""
        ...

    @property
    def chunk(self) -> int | None:
        """None if a sample is attacked alike in any company.

        Else the size of the chunks that a call's samples must come from: sample i of the data set
        belongs to chunk i // size, and one call takes samples of one chunk, all that are to be
        attacked, in their order.
        """
        ...

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the result file."""
        ...

    def __call__(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
    ) -> Tensor:
        """Adversarial images for ``images`` (N, 3, H, W) in [0, 1] with true ``labels`` (N,)."""
        ...
