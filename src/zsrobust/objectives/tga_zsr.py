"""TGA-ZSR: text-guided attention (Yu, Zhang, Xu, "Text-guided attention is all you need for
zero-shot robustness in vision-language models", NeurIPS 2024, arXiv 2410.21802).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zsrobust.attacks.losses import cross_entropy
from zsrobust.objectives.base import LogitScale, Needs, Objective, StepContext, register_objective
from zsrobust.utils.lazy import F, Tensor, torch
from zsrobust.utils.validation import require


@register_objective("tga_zsr", "TGA-ZSR", arxiv="2410.21802")
@dataclass(frozen=True)
class TGAZSR(Objective):
    """``CE(P_S(x'), y) + alpha d(A_S(x'), A_T(x)) + beta d(A_S(x), A_T(x))``, means over samples.

    ``A`` is the similarity of an encoder's patch tokens to the text of the true class, min-max
    normalised in each image and up-sampled; ``d`` the Euclidean distance of two maps. x' comes
    from PGD on the cross-entropy alone. Results name the preset and every departure from it.

    Attributes:
        preset: ``paper`` takes the cosine similarity of patch tokens and text; ``authors_code``
            first normalises each channel over the tokens, as the released code does.
        alpha: weight of the attention loss on adversarial images, 0 or more.
        beta: weight of the attention loss on clean images, 0 or more.
        logit_scale: logit scale in the cross-entropy and the attack; ``model`` for the model's own.
        map_side: side of the attention maps in pixels; the distances grow in proportion to it.

    Raises:
        RequestError: if a weight is negative, the scale not above 0, or the preset unknown.
    """

    preset: Literal["paper", "authors_code"] = "paper"
    alpha: float = 0.08
    beta: float = 0.05
    logit_scale: LogitScale = "model"
    map_side: int = 224

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.map_side >= 1, "objective.map_side", self.map_side, "1 or more")

    @property
    def needs(self) -> Needs:
        """The student on both views, the original on clean images, patch tokens of all."""
        return Needs(
            student=frozenset({"adversarial", "clean"}), teacher=frozenset({"clean"}), tokens=True
        )

    def attack_loss(self, embeddings: Tensor, step: StepContext) -> Tensor:
        """Cross-entropy, the mean over the lists of class vectors, one value a sample (N,)."""
        values = [
            cross_entropy(self.logits(embeddings, step, vectors), step.labels)
            for vectors in self.class_vectors(step)
        ]
        return torch.stack(values).mean(0)

    def loss(self, step: StepContext) -> dict[str, Tensor]:
        """``total``, and the unweighted ``robust``, ``attention`` and ``clean_attention``."""
        adversarial = self.maps(
            step.student["adversarial"], step.student_tokens["adversarial"], step
        )
        clean = self.maps(step.student["clean"], step.student_tokens["clean"], step)
        original = self.maps(step.teacher["clean"], step.teacher_tokens["clean"], step)
        parts = {
            "robust": step.mean(self.attack_loss(step.student["adversarial"], step)),
            "attention": step.mean(map_distance(adversarial, original)),
            "clean_attention": step.mean(map_distance(clean, original)),
        }
        total = (
            parts["robust"] + self.alpha * parts["attention"] + self.beta * parts["clean_attention"]
        )
        return {"total": total, **parts}

    def class_vectors(self, step: StepContext) -> tuple[Tensor, ...]:
        """The class vectors (C, dim) of the cross-entropy, one matrix for each description."""
        return (step.classifier.class_embeddings,)

    def maps(self, embeddings: Tensor, tokens: Tensor, step: StepContext) -> list[Tensor]:
        """Attention maps (N, side, side) for the true classes, one for each description."""
        return [
            self.attention(embeddings, tokens, vectors[step.labels])
            for vectors in self.class_vectors(step)
        ]

    def attention(self, embeddings: Tensor, tokens: Tensor, text: Tensor) -> Tensor:
        """The preset's :func:`attention_map` (N, side, side) for one text an image, (N, dim)."""
        return attention_map(
            embeddings, tokens, text, by_channel=self.preset == "authors_code", side=self.map_side
        )


def attention_map(
    embeddings: Tensor, tokens: Tensor, text: Tensor, *, by_channel: bool = False, side: int = 224
) -> Tensor:
    """Similarity of each patch to its image's text, from 0 to 1, up-sampled: (N, side, side).

    Args:
        embeddings: raw embeddings (N, dim).
        tokens: patch tokens (N, patches, dim) of a square grid, row by row.
        text: one text vector an image, (N, dim); its length does not matter.
        by_channel: as in TGA-ZSR's released code, divide each channel by its length over the
            image's tokens, the class token among them, then take the product with the text; else
            the cosine of token and text.
        side: of the map, in pixels.
    """
    tokens, text = tokens.float(), text.float()
    if by_channel:
        with_class = torch.cat([embeddings.float()[:, None], tokens], dim=1)
        tokens = tokens / torch.linalg.vector_norm(with_class, dim=1, keepdim=True)
    else:
        tokens = F.normalize(tokens, dim=-1)
    similarity = (tokens * text[:, None]).sum(-1)
    lowest, highest = similarity.amin(1, keepdim=True), similarity.amax(1, keepdim=True)
    # Where all patches are equally similar the map is 0, not a quotient of zeros.
    spread = (highest - lowest).clamp_min(1e-12)
    patches = math.isqrt(tokens.shape[1])
    grid = ((similarity - lowest) / spread).view(-1, 1, patches, patches)
    enlarged: Tensor = F.interpolate(grid, (side, side), mode="bilinear", align_corners=False)
    return enlarged.squeeze(1)


def map_distance(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """Euclidean distance of maps (N, side, side), the mean over pairs, one value a sample (N,)."""
    distances = [
        torch.linalg.vector_norm((first - second).flatten(1), dim=1)
        for first, second in zip(one, other, strict=True)
    ]
    return torch.stack(distances).mean(0)
