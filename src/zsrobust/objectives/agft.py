"""AGFT: adversarial fine-tuning on soft labels from the original model, CVPR 2026
(arXiv 2603.29410).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.objectives.base import LogitScale, Needs, Objective, StepContext, register_objective
from zsrobust.utils.lazy import F, Tensor
from zsrobust.utils.validation import require


@register_objective("agft", "AGFT", arxiv="2603.29410")
@dataclass(frozen=True)
class AGFT(Objective):
    """``CE(P_S(x'), q)`` with soft labels ``q = softmax(softness * scale * cos(T(x), t))``.

    ``P_S`` is at the same ``scale``; the mean over samples; labels are not read. x' comes from
    PGD on this cross-entropy with the same soft labels, as in the released code.

    Attributes:
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.
        softness: factor on the logit scale of the soft labels, above 0; lower is softer.

    Raises:
        RequestError: if either is not above 0.
    """

    logit_scale: LogitScale = 180.0
    softness: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.softness < float("inf"), "objective.softness", self.softness, "above 0")

    @property
    def needs(self) -> Needs:
        """The student on x', the original on x."""
        return Needs(teacher=frozenset({"clean"}))

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Cross-entropy with the original's soft labels, one value a sample (N,)."""
        scale = self.scale or step.classifier.logit_scale
        soft = step.classifier.logits(step.teacher["clean"], self.softness * scale).softmax(-1)
        return F.cross_entropy(self.logits(embeddings, step), soft, reduction="none")

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """Cross-entropy on adversarial images with the original's soft labels."""
        return {"total": step.mean(self.attack_loss(step.student["adversarial"], step))}
