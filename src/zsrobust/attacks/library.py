"""The attacks of AutoAttack as published, run by ``pyautoattack``'s own classes.

Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks" (ICML 2020, arXiv 2003.01690) for APGD and the ensemble; "Minimally
distorted adversarial examples with a fast adaptive boundary attack" (ICML 2020, arXiv 1907.02044)
for FAB; Andriushchenko et al., "Square Attack" (ECCV 2020, arXiv 1912.00049).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from logging import Logger
from typing import TYPE_CHECKING, Any

from zsrobust.attacks.base import CHUNK, Attack, refuse_nan, register_attack
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.noise import forked_rng, sample_key
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

_APGD = {"n_iter": 100, "n_restarts": 1, "eot_iter": 1, "rho": 0.75}
STANDARD: dict[str, dict[str, object]] = {
    "apgd-ce": {**_APGD, "loss": "ce"},
    "apgd-dlr": {**_APGD, "loss": "dlr"},
    "apgd-t": {**_APGD, "n_target_classes": 9},
    "fab-t": {
        "n_iter": 100,
        "n_restarts": 1,
        "alpha_max": 0.1,
        "eta": 1.05,
        "beta": 0.9,
        "targeted": True,
        "n_target_classes": 9,
    },
    "square": {
        "n_queries": 5000,
        "n_restarts": 1,
        "p_init": 0.8,
        "loss": "margin",
        "resc_schedule": False,
    },
}
"""AutoAttack's standard parameters; ``apgd-dlr`` has those of ``apgd-ce``."""

FEWEST_CLASSES = {"apgd-dlr": 3, "apgd-t": 4}
"""Where an attack's loss needs more than 2 classes."""

_NORMS = {"linf": "Linf", "l2": "L2"}


@register_attack(f"(?P<name>{'|'.join(STANDARD)})", *STANDARD)
@dataclass(frozen=True)
class LibraryAttack(Attack):
    """One of AutoAttack's attacks on a zero-shot classifier, at the classifier's logit scale.

    A sample's result depends on the others it is called with, because the library draws for a
    whole batch at once. So one call takes the samples of one chunk, and draws from a random state
    of its own, which seed, attack, threat model and the samples' ids determine.

    Attributes:
        name: a key of ``STANDARD``.
        threat: norm, radius and pixel range, which must be [0, 1].
        seed: of the random state.
        chunk: size of the index-aligned chunks (see ``Attack.chunk``).
        parameters: of the library's class; ``STANDARD[name]`` unless given.

    Raises:
        RequestError: if the name is unknown, the pixel range is not [0, 1], or chunk is below 1.
    """

    name: str
    threat: ThreatModel
    seed: int = 0
    chunk: int = CHUNK
    parameters: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.name in STANDARD, "attack", repr(self.name), " or ".join(STANDARD))
        require(self.threat.bounds == (0, 1), "bounds", self.threat.bounds, f"0, 1 for {self.name}")
        require(self.chunk >= 1, "attack.chunk", self.chunk, "1 or more")
        object.__setattr__(self, "parameters", {**STANDARD[self.name], **self.parameters})

    @property
    def fewest_classes(self) -> int:
        """3 for ``apgd-dlr``, 4 for ``apgd-t``, else 2."""
        return FEWEST_CLASSES.get(self.name, 2)

    @property
    def black_box(self) -> bool:
        """Whether it is ``square``."""
        return self.name == "square"

    @property
    def target_classes(self) -> int:
        """The parameter ``n_target_classes``; 0 where there is none."""
        count = self.parameters.get("n_target_classes", 0)
        assert isinstance(count, int)
        return count

    @property
    def passes(self) -> int:
        """Two forward passes for the clean images, and those of each start.

        Each iteration of FAB takes one more than its gradient, for the verdict on its result.
        """

        gradients = self._gradients_of_start
        of_start = {
            "apgd-ce": 2 * gradients,
            "apgd-dlr": 2 * gradients,
            "apgd-t": 1 + 2 * gradients,
            "fab-t": 2 + 3 * gradients + 1,
            "square": 1 + self._parameter("n_queries") + 1,
        }[self.name]
        return 2 + self._starts * of_start

    @property
    def gradients(self) -> int:
        """Those of each start."""
        return self._starts * self._gradients_of_start

    @property
    def _gradients_of_start(self) -> int:
        if self.name == "square":
            return 0
        steps = self._parameter("n_iter")
        return steps if self.name == "fab-t" else self._parameter("eot_iter") * (steps + 1)

    @property
    def _starts(self) -> int:
        return self._parameter("n_restarts") * self._parameter("n_target_classes")

    def _parameter(self, name: str) -> int:
        value = self.parameters.get(name, 1)
        assert isinstance(value, int)
        return value

    def with_target_classes(self, count: int) -> LibraryAttack:
        """This attack with ``count`` target classes."""
        return replace(self, parameters={**self.parameters, "n_target_classes": count})

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the results file."""
        return {
            "name": self.name,
            "threat": asdict(self.threat),
            "seed": self.seed,
            "chunk": self.chunk,
            **self.parameters,
            "library": f"pyautoattack {version('pyautoattack')}",
        }

    def perturb(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
        epoch: int,
    ) -> Tensor:
        """Adversarial images; clean where the attack fails or leaves the threat model.

        Raises:
            RequestError: if there are more than ``chunk`` samples, too few classes, or, for
                ``square`` in ``l2``, fewer than 5 pixels a side.
        """
        classes = len(classifier.class_names)
        require(len(images) <= self.chunk, f"{self.name}: samples", len(images), self._one_chunk)
        require(
            classes >= self.fewest_classes,
            f"{self.name}: number of classes",
            classes,
            f"{self.fewest_classes} or more",
        )
        if self.name == "square" and self.threat.norm == "l2" and min(images.shape[2:]) < 5:
            raise RequestError("square in l2 needs images of at least 5 x 5 pixels")
        # The library takes views of its images that only this layout allows.
        images = images.contiguous()
        seed = sample_key(self.seed, self._purpose, epoch, "\x1f".join(sample_ids), 0)
        with forked_rng(seed), torch.no_grad():
            # Later on the library itself may ask about images of NaN.
            refuse_nan(classifier(images).isnan().any(), "logit")
            found = self._perturb(classifier, seed, classes)(images, labels)
        return self._inside(images, found)

    @property
    def _one_chunk(self) -> str:
        return f"at most {self.chunk}, those of one chunk; call it once a chunk"

    @property
    def _purpose(self) -> str:
        return f"{self.name}\x1f{self.threat.norm}\x1f{float(self.threat.eps)!r}"

    def _inside(self, images: Tensor, found: Tensor) -> Tensor:
        """``found`` to float precision inside the threat model; clean where it is outside or NaN.

        FAB looks for the shortest change of any length, and divides by zero gradients.
        """
        # Above the rounding of a pixel's sum, below any step that an attack takes on purpose.
        allowed = self.threat.eps * 1.0001 + 1e-6
        inside = self.threat.distance(images, found) <= allowed
        return torch.where(inside[:, None, None, None], self.threat.project(images, found), images)

    def _perturb(
        self, classifier: ZeroShotClassifier, seed: int, classes: int
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The library's attack: images (N, 3, H, W) and labels (N,) to adversarial images."""
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
        from pyautoattack.fab_pt import FABAttack_PT
        from pyautoattack.square import SquareAttack

        def forward(x: Tensor) -> Tensor:
            # Square writes into the logits it is given.
            logits: Tensor = classifier(x)
            return logits.clone()

        options: dict[str, Any] = {
            **self.parameters,
            "norm": _NORMS[self.threat.norm],
            "eps": float(self.threat.eps),
            "seed": seed,
        }
        if "n_target_classes" in options:
            options["n_target_classes"] = min(options["n_target_classes"], classes - 1)
        if self.name.startswith("apgd"):
            # It only logs warnings of zero gradients; a level above all silences them.
            options["logger"] = Logger("apgd", level=100)
        attack = {
            "apgd-ce": APGDAttack,
            "apgd-dlr": APGDAttack,
            "apgd-t": APGDAttack_targeted,
            "fab-t": FABAttack_PT,
            "square": SquareAttack,
        }[self.name](forward, **options)
        perturb: Callable[[Tensor, Tensor], Tensor] = attack.perturb
        return perturb
