"""What attacks without gradients find of a model, as it lies in ``results.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BlackBoxAttack:
    """An attack without gradients, against the best with them on the same samples.

    Attributes:
        name: the attack.
        asked: samples it was tried on; those misclassified before only where they may decide.
        further, less_far: on how many it took more, and not more, of the true class's lead.
        fallen: how many it fooled the model on.
    """

    name: str
    asked: int
    further: int
    less_far: int
    fallen: int


@dataclass(frozen=True)
class Dependence:
    """What answers depend on besides the image, by the answers of a copy never asked before.

    Attributes:
        kind: ``random``, ``batch`` (the other images of the batch) or ``state`` (what was asked
            before); empty for none.
        clean: clean images that it answers otherwise than was counted.
        adversarial, shown: perturbed images that it answers otherwise than the model by then,
            and how many it was shown: adversarial ones, or noise where fewer than 7 stand.
    """

    kind: str
    clean: int
    adversarial: int
    shown: int


@dataclass(frozen=True)
class BlackBoxProbe:
    """A few samples that one model has right on one data set, attacked without gradients.

    Attributes:
        model, dataset, norm, eps: as in :class:`zsrobust.evaluation.results.Row`.
        n: samples.
        compared_with: the evaluation's attacks with gradients.
        fallen: samples misclassified under one of them.
        attacks: those without; none where too few samples stood the others.
        dependence: what answers depend on besides the image.
        parameters: of the probe.
    """

    model: str
    dataset: str
    norm: str
    eps: float
    n: int
    compared_with: list[str]
    fallen: int
    attacks: list[BlackBoxAttack]
    dependence: Dependence
    parameters: dict[str, float]

    @classmethod
    def of_plain(cls, plain: dict[str, Any]) -> BlackBoxProbe:
        """From the types of JSON."""
        attacks = [BlackBoxAttack(**attack) for attack in plain["attacks"]]
        dependence = Dependence(**plain["dependence"])
        return cls(**{**plain, "attacks": attacks, "dependence": dependence})
