"""HPT-GPD: heterogeneous proxy transfer (Fu, Huang, Zhang, "Proxy robustness in vision language
models is effortlessly transferable", arXiv 2601.12865).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.objectives.base import (
    LogitScale,
    Needs,
    Objective,
    Reduction,
    StepContext,
    register_objective,
)
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.lazy import Tensor
from zsrobust.utils.validation import require


@register_objective("hpt", "HPT", arxiv="2601.12865")
@dataclass(frozen=True)
class HPT(Objective):
    """``KL(P_O(x') || P_S(x')) + alpha KL(P_T(x) || P_S(x'))`` for another CLIP ``O``, the proxy.

    x' comes from PGD on ``CE(P_S(x'), y)``: an attack on the student fools a model of another
    architecture less, though that was never trained for it. ``T`` on the clean image holds the
    student near to where it began. Both models are frozen.

    Attributes:
        proxy: another model, of another architecture; anything `--model` takes.
        alpha: weight of the divergence from the original on clean images, 0 or more.
        logit_scale: logit scale of all three models in the loss and of the attack; ``model`` for
            each model's own.
        kl_reduction: reduction of both divergences over the batch.

    Raises:
        RequestError: if the weight is negative, the scale not above 0, or the proxy has no name.
    """

    proxy: str = "ViT-B-16/openai"
    alpha: float = 0.001
    logit_scale: LogitScale = "model"
    kl_reduction: Reduction = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.proxy), "objective.proxy", repr(self.proxy), "the name of a model")

    @property
    def needs(self) -> Needs:
        """The student and the proxy on x', and the original on x where ``alpha`` asks for it."""
        return Needs(teacher=frozenset({"clean"} if self.alpha > 0 else ()), proxy=self.proxy)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``transfer`` and ``general``."""
        assert step.proxy is not None
        student = self.logits(step.student["adversarial"], step)
        parts = {"transfer": step.reduce(kl_divergence(step.proxy, student), self.kl_reduction)}
        total = parts["transfer"]
        if self.alpha > 0:
            original = self.logits(step.teacher["clean"], step)
            parts["general"] = step.reduce(kl_divergence(original, student), self.kl_reduction)
            total = total + self.alpha * parts["general"]
        return {"total": total, **parts}
