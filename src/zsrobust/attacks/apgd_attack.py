"""The attacks ``apgd-ce-early`` and ``apgd-t-early``: AutoAttack's first two, stopped early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from zsrobust.attacks.apgd import apgd_until_wrong
from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import cross_entropy, dlr_towards, likeliest_others, margin
from zsrobust.attacks.samples import require_samples
from zsrobust.attacks.threat_model import ThreatModel
from zsrobust.attacks.worst import worst_of
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.noise import uniform_noise
from zsrobust.utils.validation import check_types, require

if TYPE_CHECKING:
    from zsrobust.models.zero_shot import ZeroShotClassifier

EARLY: dict[str, bool] = {"apgd-ce-early": False, "apgd-t-early": True}
"""By name, whether it goes for one other class after the other."""


@dataclass(frozen=True)
class APGD:
    """Auto-PGD (Croce and Hein, ICML 2020) that lets go of a sample once an iterate has fooled it.

    What stands is attacked as by ``apgd-ce`` and ``apgd-t``, with 100 steps a start and random
    starts of its own: keyed by the sample, so that it is attacked alike in any company.

    Attributes:
        name: a key of ``EARLY``.
        threat: norm, radius and pixel range.
        steps: gradient steps a start, 1 or more.
        targets: how many other classes ``apgd-t-early`` tries, the likeliest first.
        seed: keys the random starts.

    Raises:
        RequestError: if the name is unknown, or steps or targets are below 1.
    """

    name: str
    threat: ThreatModel
    steps: int = 100
    targets: int = 9
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.name in EARLY, "attack", repr(self.name), " or ".join(EARLY))
        check_types(self, "attack.")
        for key in ("steps", "targets"):
            require(getattr(self, key) >= 1, f"attack.{key}", getattr(self, key), "1 or more")

    @property
    def targeted(self) -> bool:
        """Whether it goes for one other class after the other."""
        return EARLY[self.name]

    @property
    def fewest_classes(self) -> int:
        """How many classes it needs."""
        return 4 if self.targeted else 2

    @property
    def chunk(self) -> None:
        """None: a sample is attacked alike in any company."""
        return None

    def describe(self) -> dict[str, object]:
        """Every parameter that changes a number, for the result file."""
        return {
            **asdict(self),
            "targets": self.targets if self.targeted else None,
            "loss": "dlr-targeted" if self.targeted else "ce",
            "returns": "first misclassified iterate, else that of highest loss",
        }

    def __call__(
        self,
        classifier: ZeroShotClassifier,
        images: Tensor,
        labels: Tensor,
        sample_ids: Sequence[str],
    ) -> Tensor:
        """Adversarial images for ``images`` (N, 3, H, W) in [0, 1] with true ``labels`` (N,).

        The model is left as it was found.

        Raises:
            RequestError: if ``apgd-t-early`` meets fewer than 4 classes.
            RunError: if a gradient is NaN.
        """
        require_samples(self.threat, classifier, images, labels, sample_ids)
        images = images.detach()
        with frozen(classifier), torch.no_grad():
            aims = [labels]
            if self.targeted and len(images):
                aims = likeliest_others(classifier(images), labels, self.targets)

            def start(rows: Tensor, number: int) -> Tensor:
                ids = [sample_ids[row] for row in rows.tolist()]
                at = images[rows]
                return apgd_until_wrong(
                    classifier,
                    self._loss,
                    at,
                    labels[rows],
                    aims[number][rows],
                    self.threat,
                    steps=self.steps,
                    noise=uniform_noise(at, ids, seed=self.seed, purpose=self.name, restart=number),
                )

            tries = [partial(start, number=number) for number in range(len(aims))]
            return worst_of(tries, classifier, margin, images, labels)

    def _loss(self, logits: Tensor, labels: Tensor, aims: Tensor) -> Tensor:
        if self.targeted:
            return dlr_towards(logits, labels, aims)
        return cross_entropy(logits, labels)
