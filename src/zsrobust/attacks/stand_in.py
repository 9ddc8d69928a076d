"""What attacks on a stand-in of the classifier have in common: transfer, EOT and BPDA."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from zsrobust.attacks.base import Attack
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.lazy import Tensor

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


@dataclass(frozen=True)
class OnStandIn(Attack):
    """Another attack, on a stand-in of the classifier that it is called with.

    Attributes:
        attack: what is done to the stand-in.
    """

    attack: Attack

    @property
    def threat(self) -> ThreatModel:
        """That of the attack on the stand-in."""
        return self.attack.threat

    @property
    def chunk(self) -> int | None:
        """That of the attack on the stand-in."""
        return self.attack.chunk

    @property
    def black_box(self) -> bool:
        """Whether the attack on the stand-in uses no gradient."""
        return self.attack.black_box

    @property
    def gradients(self) -> int:
        """Those of the attack on the stand-in."""
        return self.attack.gradients

    @property
    def needs_gradient(self) -> bool:
        """Whether the attack on the stand-in takes the gradient of the model under attack."""
        return self.attack.needs_gradient

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the results file."""
        own = {key: value for key, value in vars(self).items() if key != "attack"}
        about = {"name": self.name, "threat": asdict(self.threat), "chunk": self.chunk}
        return {**about, **own, "attack": self.attack.describe()}

    def for_classes(self, classes: int) -> tuple[Attack | None, str]:
        """The same with the attack on the stand-in for so many classes."""
        attack, note = self.attack.for_classes(classes)
        return attack and replace(self, attack=attack), self._own(note)

    @abstractmethod
    def stand_in(self, classifier: ZeroShotClassifier) -> ZeroShotClassifier:
        """What is attacked in the place of ``classifier``."""

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """What the attack makes of the stand-in."""
        return self.attack(self.stand_in(classifier), images, labels, sample_ids, epoch)

    def _own(self, note: str) -> str:
        """A note on the attack on the stand-in, under this one's name."""
        if not note or note.startswith(f"{self.attack.name} "):
            return note and self.name + note.removeprefix(self.attack.name)
        return f"{self.name}: {note}"
