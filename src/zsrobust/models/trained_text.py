"""The text tower of a model while it is trained, and its prompts for the classes."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.utils.errors import RequestError

FUNCTION_WORDS = (
    "a an and are as at be but by for from in into is it its my no not of on one or our over that "
    "the their there these they this those to under was we which with you your . , - ! ?"
)
"""Words without a meaning of their own, which no attack replaces: those of prompts, and others."""


def text_tower_of(model: CLIPModel) -> OpenCLIPText:
    """The text side of ``model``, if its tower can be trained.

    Raises:
        RequestError: if it is none of open_clip's, or has no table of tokens.
    """
    side = model.text
    table = getattr(getattr(side, "model", None), "token_embedding", None)
    if not isinstance(side, OpenCLIPText) or not isinstance(table, nn.Embedding):
        raise RequestError(
            f"model {model.name} has no text tower of open_clip's that could be trained: use "
            "glyph-clip or a CLIP of open_clip"
        )
    return side


class TrainedText(nn.Module):
    """A copy of an open_clip text tower to train, with the prompts of some classes as tokens.

    Only its weights are in its ``state_dict``. The logit scale stays as it was.

    Args:
        model: whose text tower; it must be one of open_clip's.
        class_names: C names, in label order.
        templates: T prompts with ``{}`` for the name.

    Attributes:
        prompts: tokens (C, T, L) of every prompt.
        mask: the token that stands for no word in particular.
        replaceable: (V,) of every token, whether it may be replaced, and put in another's place.

    Raises:
        RequestError: if the model's text tower is none of open_clip's.
    """

    prompts: Tensor
    replaceable: Tensor

    def __init__(
        self, model: CLIPModel, class_names: Sequence[str], templates: Sequence[str]
    ) -> None:
        super().__init__()
        self.side = side = text_tower_of(model)
        self.tower = deepcopy(side.model)
        for parameter in (self.tower.logit_scale, getattr(self.tower, "logit_bias", None)):
            if isinstance(parameter, nn.Parameter):
                parameter.requires_grad_(False)
        texts = [template.replace("{}", name) for name in class_names for template in templates]
        tokens = side.tokenize(texts).view(len(class_names), len(templates), -1)
        self.register_buffer("prompts", tokens, persistent=False)
        # Of CLIP's vocabulary these three bytes are a word; where it has no row, the unknown one.
        self.mask = int(side.tokenize(["unk"])[0, 1])
        fixed = side.tokenize(FUNCTION_WORDS.split()).flatten()
        replaceable = torch.ones(len(side.model.token_embedding.weight), dtype=torch.bool)  # type: ignore
        # Start, end and padding are in every prompt.
        replaceable[fixed] = False
        replaceable[self.mask] = False
        self.register_buffer("replaceable", replaceable, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Unit embeddings (N, dim) in fp32 of tokens (N, L)."""
        found: Tensor = self.tower.encode_text(tokens)  # type: ignore[operator]
        return F.normalize(found.float(), dim=-1)

    def class_vectors(self) -> Tensor:
        """One unit vector a class, (C, dim), the mean over its templates; without a gradient."""
        classes, templates, length = self.prompts.shape
        with torch.no_grad():
            vectors = self(self.prompts.view(-1, length)).view(classes, templates, -1)
            return F.normalize(vectors.mean(1), dim=-1)

    def neighbours(self, tokens: Tensor, count: int) -> Tensor:
        """The ``count`` replaceable tokens (N, count) whose rows are nearest to those of (N,).

        By the cosine of the rows of the token table; never a token itself.
        """
        with torch.no_grad():
            rows = F.normalize(self.tower.token_embedding.weight.float(), dim=-1)  # type: ignore
            cosines = rows[tokens] @ rows.T
            cosines[:, ~self.replaceable] = -2
            cosines.scatter_(1, tokens[:, None], -2)
            return cosines.topk(count).indices

    def as_side(self) -> OpenCLIPText:
        """A text side with the weights of now."""
        weights = {name: value.cpu() for name, value in self.tower.state_dict().items()}
        return self.side.with_weights(weights, tuned=True)
