"""SAFT: semantic-aware adversarial fine-tuning, TMLR 2026 (arXiv 2602.12461)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from zsrobust.objectives.base import StepContext, register_objective
from zsrobust.objectives.tga_zsr import TGAZSR
from zsrobust.utils.errors import RequestError
from zsrobust.utils.lazy import Tensor, torch
from zsrobust.utils.validation import require, require_template

PLAIN = (
    "This is a photo of a {}",
    "A close view of a {}",
    "A {} seen from afar",
    "A small and blurred picture of a {}",
)
"""Used as descriptions where no file gives any."""


@register_objective("saft", "SAFT", arxiv="2602.12461")
@dataclass(frozen=True)
class SAFT(TGAZSR):
    """TGA-ZSR's loss, the mean over several descriptions of every class.

    ``mean over k of CE(P_S^k(x'), y) + alpha d(A_S^k(x'), A_T^k(x)) + beta d(A_S^k(x), A_T^k(x))``
    where ``P^k`` and ``A^k`` take the k-th description of each class for its text. x' comes from
    PGD on the mean of the K cross-entropies. The paper's own descriptions are not shipped here.

    Attributes:
        preset: ``paper`` has one attention map for each description; ``authors_code`` one map of
            their mean similarity, each channel normalised over the tokens, as the released code.
        alpha: weight of the attention loss on adversarial images, 0 or more.
        beta: weight of the attention loss on clean images, 0 or more.
        logit_scale: logit scale in the cross-entropy and the attack; ``model`` for the model's own.
        map_side: side of the attention maps in pixels; the distances grow in proportion to it.
        descriptions: YAML or JSON file with a list of sentences for each class, equally many;
            null to use ``plain``.
        plain: prompts with {} for the class name, in the place of descriptions.

    Raises:
        RequestError: if a weight is negative, the scale not above 0, the preset unknown, or a
            plain prompt leaves no place for the class name.
    """

    descriptions: str | None = None
    plain: list[str] = field(default_factory=lambda: list(PLAIN))

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.plain) > 0, "objective.plain", self.plain, "a list of prompts")
        for text in self.plain:
            require_template("objective.plain", text)

    def prompts(self, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
        """The k-th description of every class, for each k.

        Raises:
            RequestError: if the file cannot be read, lacks a class, or gives classes different
                numbers of descriptions.
        """
        if self.descriptions is None:
            return tuple(
                tuple(text.replace("{}", name) for name in class_names) for text in self.plain
            )
        return described(Path(self.descriptions), class_names)

    def class_vectors(self, step: StepContext) -> tuple[Tensor, ...]:
        """The vectors of every description."""
        return step.texts

    def maps(self, embeddings: Tensor, tokens: Tensor, step: StepContext) -> list[Tensor]:
        """A map (N, side, side) for each description, or by ``authors_code`` one for all."""
        if self.preset == "paper":
            return super().maps(embeddings, tokens, step)
        # Similarity is linear in the text: the mean over descriptions is that with their mean.
        text = torch.stack(step.texts).mean(0)[step.labels]
        return [self.attention(embeddings, tokens, text)]


def described(path: Path, class_names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The k-th description of every class in ``path``, for each k; names in any case.

    Raises:
        RequestError: as in :meth:`SAFT.prompts`.
    """
    key = f"objective.descriptions {path}"
    try:
        # JSON is YAML too.
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as reason:
        details = " ".join(str(reason).split())
        raise RequestError(f"{key} cannot be read as YAML or JSON: {details}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{key} must hold class names, each with a list of sentences")
    known = {str(name).lower(): texts for name, texts in content.items()}
    missing = [name for name in class_names if name.lower() not in known]
    if missing:
        raise RequestError(
            f"{key} lacks {len(missing)} of the {len(class_names)} classes, first {missing[0]!r}"
        )
    first = class_names[0]
    count = len(known[first.lower()]) if isinstance(known[first.lower()], list) else 0
    for name in class_names:
        texts = known[name.lower()]
        whole = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        if not whole or len(texts) == 0:
            raise RequestError(f"{key} must hold a list of sentences for {name!r}")
        if len(texts) != count:
            raise RequestError(
                f"{key} describes {first!r} {count} times and {name!r} {len(texts)} times: give "
                "every class as many sentences"
            )
    return tuple(zip(*(known[name.lower()] for name in class_names), strict=True))
