"""The baseline ``transfer(ATTACK, SURROGATE)``: images made against one model, tried on another."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from zsrobust.attacks.stand_in import OnStandIn
from zsrobust.models.name_forms import split_arguments
from zsrobust.utils.errors import RequestError

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
class Transfer(OnStandIn):
    """Attack a surrogate and hand its adversarial images to the classifier under test.

    The classifier itself is never asked. A white-box attack that finds less than this one has
    met masked gradients (Athalye, Carlini, Wagner, ICML 2018, arXiv 1802.00420).

    Attributes:
        attack: how the surrogate is attacked.
        surrogate: the model attacked, with the classes of the one under test, on its device.
        surrogate_name: its name in results; ``undefended`` for the model under test itself.
    """

    surrogate: ZeroShotClassifier
    surrogate_name: str

    @property
    def name(self) -> str:
        """``transfer(pgd-10, NAME)``."""
        return f"transfer({self.attack.name}, {self.surrogate_name})"

    @property
    def black_box(self) -> bool:
        """True: the model that the images are meant for is never queried."""
        return True

    @property
    def needs_gradient(self) -> bool:
        """False, as above."""
        return False

    @property
    def passes(self) -> int:
        """Those of the attack, all through the surrogate."""
        return self.attack.passes

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

    def stand_in(self, classifier: ZeroShotClassifier) -> ZeroShotClassifier:
        """The surrogate.

        Raises:
            RequestError: if the two classifiers have different classes.
        """
        if classifier.class_names != self.surrogate.class_names:
            raise RequestError(
                f"{self.name}: the surrogate has other classes than the model under test; "
                "build both with the same class names"
            )
        return self.surrogate

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
