"""Guidance by the original over more names than the classes that are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from zsrobust.attacks.losses import cross_entropy
from zsrobust.data.names import imagenet_names, tiny_imagenet_names
from zsrobust.objectives.base import (
    LogitScale,
    Needs,
    Objective,
    StepContext,
    View,
    register_objective,
)
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.validation import require


@register_objective("guidance", "guidance over names")
@dataclass(frozen=True)
class Guidance(Objective):
    """``labels CE(P_S(x'), y) + alpha KL(Q_T(x_g) || Q_S(x')) + beta KL(Q_T(x) || Q_S(x))``.

    P is over the classes that are trained on, Q over those or over ImageNet's names without
    those that are held out; means over samples. With ``guide`` at ``clean`` and ``labels`` at 0 it
    is RSLAD (Zi et al., ICCV 2021) but for its attack, which climbs the cross-entropy.

    Attributes:
        labels: weight of the cross-entropy, 0 or more.
        alpha: weight of the divergence on the adversarial image, 0 or more.
        beta: weight of the divergence on the clean image, 0 or more.
        names: what Q is over: the ``classes`` trained on, or ``imagenet``'s.
        guide: the image x_g that the original sees for the first divergence.
        logit_scale: of loss and attack; ``model`` for the model's own.

    Raises:
        RequestError: if a weight is negative, or the scale not above 0.
    """

    labels: float = 1.0
    alpha: float = 1.0
    beta: float = 1.0
    names: Literal["classes", "imagenet"] = "imagenet"
    guide: View = "adversarial"
    logit_scale: LogitScale = "model"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.labels < float("inf"), "objective.labels", self.labels, "0 or more")

    @property
    def needs(self) -> Needs:
        """The student on x', both on x where beta asks for it, the original on x_g."""
        clean: set[View] = {"clean"} if self.beta > 0 else set()
        guide: set[View] = {self.guide} if self.alpha > 0 else set()
        return Needs(student=frozenset({"adversarial", *clean}), teacher=frozenset(guide | clean))

    def prompts(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """ImageNet's names, but for those of TinyImageNet that are not trained on."""
        if self.names == "classes":
            return ()
        return (tuple(f"a photo of a {name}." for name in guiding_names(class_names)),)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``robust``, ``general`` and ``clean``."""
        (vectors,) = step.texts or (None,)
        adversarial = step.student["adversarial"]
        parts = {"robust": step.mean(cross_entropy(self.logits(adversarial, step), step.labels))}
        total = self.labels * parts["robust"]
        if self.alpha > 0:
            guided = self.logits(adversarial, step, vectors)
            original = self.logits(step.teacher[self.guide], step, vectors)
            parts["general"] = step.mean(kl_divergence(original, guided))
            total = total + self.alpha * parts["general"]
        if self.beta > 0:
            ours = self.logits(step.student["clean"], step, vectors)
            theirs = self.logits(step.teacher["clean"], step, vectors)
            parts["clean"] = step.mean(kl_divergence(theirs, ours))
            total = total + self.beta * parts["clean"]
        return {"total": total, **parts}


def guiding_names(class_names: Sequence[str]) -> list[str]:
    """ImageNet's names without TinyImageNet's, and the classes that are trained on."""
    tiny = tiny_imagenet_names()
    others = [name for wnid, name in imagenet_names().items() if wnid not in tiny]
    return list(dict.fromkeys([*class_names, *others]))
