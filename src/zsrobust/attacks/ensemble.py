"""The worst of several attacks on each sample, such as AutoAttack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.base import Attack
from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.samples import require_samples
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class Ensemble:
    """Attacks one after the other, each on the samples that still stand.

    A sample is robust if it stands against every part, so the ensemble is never weaker than one.

    Attributes:
        name: in results.
        parts: one or more attacks in one threat model, in order; those that need chunks agree
            on their size.

    Raises:
        RequestError: if there is no part, or the parts disagree.
    """

    name: str
    parts: tuple[Attack, ...]

    def __post_init__(self) -> None:
        require(len(self.parts) > 0, f"{self.name}: parts", "empty", "one attack or more")
        threats = {part.threat for part in self.parts}
        require(len(threats) == 1, f"{self.name}: threat models", len(threats), "one for all parts")
        require(len(self._chunks) <= 1, f"{self.name}: chunks", self._chunks, "one for all parts")

    @property
    def threat(self) -> ThreatModel:
        """That of every part."""
        return self.parts[0].threat

    @property
    def chunk(self) -> int | None:
        """That of the parts which have one, else None."""
        return max(self._chunks, default=None)

    @property
    def _chunks(self) -> set[int]:
        return {part.chunk for part in self.parts if part.chunk is not None}

    def describe(self) -> dict[str, object]:
        """Every parameter of every part, for the result file."""
        return {
            "name": self.name,
            "threat": asdict(self.threat),
            "chunk": self.chunk,
            "parts": [part.describe() for part in self.parts],
        }

    def __call__(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
    ) -> Tensor:
        """Each sample's image from the first part that fools, else from the last part.

        ``images`` (N, 3, H, W) in [0, 1] with true ``labels`` (N,).

        Raises:
            RequestError: if a part is not defined for so few classes (see ``fit_to_classes``).
            RunError: if a part meets a NaN.
        """
        require_samples(self.threat, classifier, images, labels, sample_ids)

        def run(part: Attack, rows: Tensor) -> Tensor:
            ids = [sample_ids[row] for row in rows.tolist()]
            return part(classifier, images[rows], labels[rows], ids)

        with frozen(classifier):
            return worst_of(
                [partial(run, part) for part in self.parts],
                classifier,
                # No part is worse than another by anything but its verdict.
                lambda logits, _: torch.zeros_like(logits[:, 0]),
                images.detach(),
                labels,
            )
