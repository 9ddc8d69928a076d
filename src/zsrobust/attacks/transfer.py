"""The baseline ``transfer(ATTACK, SURROGATE)``: images made against one model, tried on another."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from zsrobust.attacks.base import Attack
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.models.name_forms import split_arguments
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import Tensor

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier


UNDEFENDED = "undefended"
"""A surrogate's name that means the model under test without its test-time defence."""


def read_transfer(name: str) -> tuple[str, str] | None:
    """Attack and surrogate that ``transfer(ATTACK, SURROGATE)`` names; None for another name.

    Raises:
        RequestError: if it begins so and is written otherwise.
    """
    if not re.match(r"\s*transfer\b", name, re.IGNORECASE):
        return None
    found = re.fullmatch(r"transfer\((.*)\)", name)
    parts = [part.strip() for part in split_arguments(found[1])] if found else []
    if len(parts) != 2 or not all(part and part.count("(") == part.count(")") for part in parts):
        raise RequestError(
            f"attack {name!r} must be written transfer(ATTACK, MODEL), as in "
            "transfer(pgd-10, glyph-clip), and be no part of another"
        )
    return parts[0], parts[1]


@dataclass(frozen=True)
class Transfer(Attack):
    """Attack a surrogate and hand its adversarial images to the classifier under test.

    The classifier itself is never asked. A white-box attack that finds less than this one has
    met masked gradients (Athalye, Carlini, Wagner, ICML 2018, arXiv 1802.00420).

    Attributes:
        attack: how the surrogate is attacked.
        surrogate: the model attacked, with the classes of the one under test, on its device.
        surrogate_name: its name in results; ``undefended`` for the model under test itself.
    """

    attack: Attack
    surrogate: ZeroShotClassifier
    surrogate_name: str

    @property
    def name(self) -> str:
        """``transfer(pgd-10, NAME)``."""
        return f"transfer({self.attack.name}, {self.surrogate_name})"

    @property
    def threat(self) -> ThreatModel:
        """That of the attack on the surrogate."""
        return self.attack.threat

    @property
    def black_box(self) -> bool:
        """True: the model that the images are meant for is never queried."""
        return True

    @property
    def chunk(self) -> int | None:
        """That of the attack on the surrogate."""
        return self.attack.chunk

    @property
    def passes(self) -> int:
        """Those of the attack, all through the surrogate."""
        return self.attack.passes

    @property
    def gradients(self) -> int:
        """Those of the attack."""
        return self.attack.gradients

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the results file; weights as a hash."""
        about: dict[str, object] = {
            "name": self.name,
            "threat": asdict(self.threat),
            "chunk": self.chunk,
            "attack": self.attack.describe(),
        }
        if self.surrogate_name == UNDEFENDED:
            return about  # The model under test, which is described elsewhere, says the rest.
        return {
            **about,
            "surrogate": {
                "name": self.surrogate_name,
                "logit_scale": self.surrogate.logit_scale,
                "templates": list(self.surrogate.templates),
                "preprocessing": self._preprocessing,
                **self.surrogate.further_settings(),
                **self._hashes,
            },
        }

    def for_classes(self, classes: int) -> tuple[Attack | None, str]:
        """The same with the attack on the surrogate for so many classes."""
        attack, note = self.attack.for_classes(classes)
        return attack and replace(self, attack=attack), self._about(self.attack, note)

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """The surrogate's adversarial images.

        Raises:
            RequestError: if the two classifiers have different classes.
        """
        if classifier.class_names != self.surrogate.class_names:
            raise RequestError(
                f"{self.name}: the surrogate has other classes than the model under test; "
                "build both with the same class names"
            )
        return self.attack(self.surrogate, images, labels, sample_ids, epoch)

    @property
    def _preprocessing(self) -> dict[str, object] | str:
        from zsrobust.models.preprocessing import Preprocessing

        preprocessing = self.surrogate.preprocessing
        if isinstance(preprocessing, Preprocessing):
            return preprocessing.describe()
        return repr(preprocessing)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        from zsrobust.models.weights import fingerprint

        vectors = self.surrogate.class_embeddings.cpu().numpy().tobytes()
        return {
            "weights": fingerprint(self.surrogate.encoder),
            "class_embeddings": hashlib.sha256(vectors).hexdigest(),
        }
