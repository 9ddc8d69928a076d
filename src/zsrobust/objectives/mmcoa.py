"""MMCoA: multimodal contrastive adversarial training (Zhou, Bai, Zhao, Chen, "Revisiting the
adversarial robustness of vision language models: a multimodal perspective", arXiv 2404.19287).
"""

from __future__ import annotations

from dataclasses import dataclass

from zsrobust.objectives.adv_flyp import contrastive
from zsrobust.objectives.base import LogitScale, Needs, Objective, StepContext, register_objective
from zsrobust.objectives.distances import kl_divergence
from zsrobust.utils.lazy import TYPE_CHECKING, Tensor, torch
from zsrobust.utils.validation import require

if TYPE_CHECKING:
    from zsrobust.models.trained_text import TrainedText


@register_objective("mmcoa", "MMCoA", arxiv="2404.19287")
@dataclass(frozen=True)
class MMCoA(Objective):
    """``alpha NCE(x', t) + beta NCE(x, t')``, CLIP's contrastive loss; trains both encoders.

    ``NCE`` is the mean of the cross-entropies of each image among the texts of the batch and of
    each text among the images, ``t`` the prompt of the image's class. x' comes from PGD on the
    cross-entropy over all classes. t' is t with one word replaced: the word whose loss moves the
    text's embedding the most, by that of its ``candidates`` that moves it the furthest.

    The batch is what one process sees at once. Images of one class count as wrong for each other.

    Attributes:
        alpha: weight of the term with adversarial images, 0 or more.
        beta: weight of the term with adversarial texts, 0 or more.
        candidates: words that may replace another: the nearest in the token table; 1 or more.
        logit_scale: logit scale in the loss and the attack; ``model`` for the model's own.

    Raises:
        RequestError: if a weight is negative, or there are no candidates.
    """

    alpha: float = 1.0
    beta: float = 1.0
    candidates: int = 10
    logit_scale: LogitScale = "model"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.candidates >= 1, "objective.candidates", self.candidates, "1 or more")

    @property
    def needs(self) -> Needs:
        """The student on both views, and the text tower."""
        return Needs(student=frozenset({"adversarial", "clean"}), text=True)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``robust`` and ``robust_text``."""
        text: TrainedText = step.head  # type: ignore[assignment]
        classes, place = torch.unique(step.labels, return_inverse=True)
        tokens = text.prompts[classes, 0]
        replaced = replace_a_word(text, tokens, self.candidates)
        adversarial = self.logits(step.student["adversarial"], step, text(tokens))
        clean = self.logits(step.student["clean"], step, text(replaced))
        parts = {
            "robust": step.mean(contrastive(adversarial[:, place])),
            "robust_text": step.mean(contrastive(clean[:, place])),
        }
        return {"total": self.alpha * parts["robust"] + self.beta * parts["robust_text"], **parts}


def replace_a_word(text: TrainedText, tokens: Tensor, candidates: int) -> Tensor:
    """Prompts (N, L) with one token each replaced, so that the embedding moves far.

    The divergence of two unit embeddings is that of their softmax over dimensions, as in the
    authors' code. A prompt without a replaceable token stays.
    """
    with torch.no_grad():
        return _replaced(text, tokens, candidates)


def _replaced(text: TrainedText, tokens: Tensor, candidates: int) -> Tensor:
    whole = text(tokens)
    rows, places = text.replaceable[tokens].nonzero(as_tuple=True)
    if not len(rows):
        return tokens
    masked = tokens[rows]
    masked[torch.arange(len(rows)), places] = text.mask
    importance = torch.full(tokens.shape, -1.0, device=tokens.device)
    importance[rows, places] = kl_divergence(whole[rows], text(masked))
    best, place = importance.max(1)
    every = torch.arange(len(tokens), device=tokens.device)
    others = text.neighbours(tokens[every, place], candidates)
    changed = tokens[:, None].repeat(1, others.shape[1], 1)
    changed[every, :, place] = others
    moved = kl_divergence(whole[:, None], text(changed.flatten(0, 1)).view(*others.shape, -1))
    chosen = changed[every, moved.argmax(1)]
    return torch.where((best >= 0)[:, None], chosen, tokens)
