"""The worst of several attacks on each sample, such as AutoAttack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.apgd import APGD
from zsrobust.attacks.base import Attack
from zsrobust.attacks.library import LibraryAttack
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class Ensemble(Attack):
    """Attacks one after the other, each on the samples that still stand.

    A sample is robust if no part fools the model on it, so the ensemble is never weaker than one.

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
        """That of the parts that have one, else None."""
        return max(self._chunks, default=None)

    @property
    def fewest_classes(self) -> int:
        """What the part with the least needs."""
        return min(part.fewest_classes for part in self.parts)

    @property
    def black_box(self) -> bool:
        """Whether no part uses a gradient."""
        return all(part.black_box for part in self.parts)

    @property
    def passes(self) -> int:
        """Those of the parts, and one for the verdict on each part's result."""
        return sum(part.passes + 1 for part in self.parts)

    @property
    def gradients(self) -> int:
        """Those of the parts."""
        return sum(part.gradients for part in self.parts)

    @property
    def _chunks(self) -> set[int]:
        return {part.chunk for part in self.parts if part.chunk is not None}

    def describe(self) -> dict[str, object]:
        """Every parameter of every part, for the results file."""
        return {
            "name": self.name,
            "threat": asdict(self.threat),
            "chunk": self.chunk,
            "parts": [part.describe() for part in self.parts],
        }

    def for_classes(self, classes: int) -> tuple[Attack | None, str]:
        """The parts that are defined for so many classes; see :meth:`Attack.for_classes`.

        With 3 classes ``apgd-dlr`` takes the place of ``apgd-t``.
        """
        if classes < self.fewest_classes:
            return super().for_classes(classes)
        parts, notes = [], []
        for part in self.parts:
            fitted, note = part.for_classes(classes)
            if fitted is None and classes == 3 and isinstance(part, LibraryAttack | APGD):
                # Only apgd-t needs more than 3.
                chunk = part.chunk or LibraryAttack.chunk
                stand_in = LibraryAttack("apgd-dlr", part.threat, part.seed, chunk)
                if stand_in not in self.parts:
                    fitted = stand_in
                    note = f"{part.name} replaced by {fitted.name}: it needs 4 classes, here 3"
            if fitted is not None:
                parts.append(fitted)
            notes.append(note)
        note = "; ".join(filter(None, notes))
        return (replace(self, parts=tuple(parts)) if parts else None), note

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """Each sample's image from the first part that succeeds, else from the last part."""

        def run(part: Attack, rows: Tensor) -> Tensor:
            ids = [sample_ids[row] for row in rows.tolist()]
            return part(classifier, images[rows], labels[rows], ids, epoch)

        return worst_of(
            [partial(run, part) for part in self.parts],
            classifier,
            # Parts are compared by success alone.
            lambda logits, _: torch.zeros_like(logits[:, 0]),
            images,
            labels,
        )
