"""R-TPT, ``rtpt(MODEL)``: prompts are tuned for each image, and its views weighted by agreement.

Sheng et al., "R-TPT: Improving Adversarial Robustness of Vision-Language Models through Test-Time
Prompt Tuning" (CVPR 2025, arXiv 2504.11195), as in the released code for ImageNet and its variants,
whose views are crops. Its attacks are on the undefended model; none goes through the defence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zsrobust.models.clip import CLIPModel
from zsrobust.models.defences.base import RandomisedDefence, entropy, register_defence
from zsrobust.models.random_views import random_resized_crops
from zsrobust.models.text_side import TunableText
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import require

SMALLEST = 0.08
"""Least area of a crop, as a share of the image's."""
_PROMPTS = 512
"""That go through the text tower at a time, where more than one image's do."""


@register_defence("rtpt")
@dataclass(frozen=True)
class Rtpt(RandomisedDefence):
    """Prompts of low entropy on an image's clearest views, and a mean of all by their neighbours.

    Views are the image and random crops, half of them flipped. The token vectors before the class
    name, the same for all classes, take ``steps`` of AdamW from those of the template, separately
    for each image, to lower the mean entropy of the share ``kept`` of views that had the least. The
    answer is the mean of all views' logits by the tuned prompts, weighted by softmax(a /
    ``temperature``) for a the mean cosine of a view's embedding with the nearest ``neighbours``.

    Gradient: exact through embeddings and weights, with the tuned prompts as constants. Random:
    crops. Cost: a forward pass a view; through the text tower, a forward and a backward pass of all
    prompts a step, and a forward pass.

    Attributes:
        crops: views besides the image.
        kept: share of the views that prompts are tuned on, at least one.
        steps: of AdamW, with PyTorch's defaults.
        rate: its learning rate.
        neighbours: views that a view's weight depends on.
        temperature: of the weights.

    Raises:
        RequestError: if one is out of range.
    """

    crops: int = 63
    kept: float = 0.1
    steps: int = 1
    rate: float = 5e-3
    neighbours: int = 20
    temperature: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.crops >= 1, "rtpt crops", self.crops, "1 or more")
        require(0 < self.kept <= 1, "rtpt kept", self.kept, "above 0, up to 1")
        require(self.steps >= 0, "rtpt steps", self.steps, "0 or more")
        for key in ("rate", "temperature"):
            value = getattr(self, key)
            require(0 < value < float("inf"), f"rtpt {key}", value, "above 0 and finite")
        require(
            1 <= self.neighbours <= self.crops,
            "rtpt neighbours",
            self.neighbours,
            f"from 1 to crops, {self.crops}",
        )

    @property
    def views(self) -> int:
        """The image and its crops."""
        return 1 + self.crops

    def bound(self, model: CLIPModel, load: Callable[[str], CLIPModel]) -> Rtpt:
        """Itself, if the text side of ``model`` lets a gradient pass to its token vectors."""
        if not isinstance(model.text, TunableText) or model.text.token_embedding is None:
            raise RequestError(
                f"rtpt tunes prompts, and the text side of {model.name} has no token vectors to "
                "tune: take glyph-clip, or a CLIP of open_clip or transformers"
            )
        return self

    def check(self, classifier: ZeroShotClassifier, model: CLIPModel) -> None:
        """Refuse prompts that hold nothing to tune."""
        text: TunableText = model.text  # type: ignore[assignment]
        if not _Prompts(text, classifier.class_names, classifier.templates).tuned.any():
            raise RequestError(
                "rtpt tunes the words before the class name, and there are none in "
                f"{', '.join(map(repr, classifier.templates))}"
            )

    def embed(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Weighted means (N, dim) of unit embeddings of ``images`` (N, 3, H, W) in [0, 1]."""
        return self.weighted(self._units(undefended, images))

    def logits(self, undefended: ZeroShotClassifier, images: Tensor, model: CLIPModel) -> Tensor:
        """Logits (N, C) by the prompts tuned for each of ``images`` (N, 3, H, W) in [0, 1]."""
        text: TunableText = model.text  # type: ignore[assignment]
        prompts = _Prompts(text, undefended.class_names, undefended.templates)
        units = self._units(undefended, images)
        with torch.autocast(images.device.type, enabled=False):
            classes = self.tuned(units.detach(), prompts, undefended)
            cosines = torch.einsum("nd,ncd->nc", self.weighted(units), classes)
        return undefended.logit_scale * cosines

    def weighted(self, units: Tensor) -> Tensor:
        """Means (N, dim) of unit embeddings (V, N, dim), by how near other views are to each."""
        cosines = torch.einsum("vnd,wnd->nvw", units, units)
        itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
        nearest = cosines.masked_fill(itself, -torch.inf).topk(self.neighbours, dim=-1).values
        weights = (nearest.mean(-1) / self.temperature).softmax(-1)
        return torch.einsum("nv,vnd->nd", weights, units)

    def tuned(self, units: Tensor, prompts: _Prompts, undefended: ZeroShotClassifier) -> Tensor:
        """Unit class vectors (N, C, dim) by the prompts tuned for each image.

        Args:
            units: unit embeddings (V, N, dim) of all views, without a gradient.
            prompts: of all classes.
            undefended: chooses the views.
        """
        kept = max(1, int(len(units) * self.kept))
        logits = undefended.logits(units.flatten(0, 1)).view(*units.shape[:2], -1)
        rows = entropy(logits).topk(kept, dim=0, largest=False).indices[..., None]
        clear = units.gather(0, rows.expand(-1, -1, units.shape[-1])).transpose(0, 1)
        step = max(1, _PROMPTS // len(prompts.tokens))
        parts = [clear[first : first + step] for first in range(0, max(1, len(clear)), step)]
        return torch.cat([self._tuned(part, prompts, undefended.logit_scale) for part in parts])

    @torch.enable_grad()
    def _tuned(self, clear: Tensor, prompts: _Prompts, scale: float) -> Tensor:
        """The same by the clear views (N, K, dim) themselves."""
        vectors = prompts.first.expand(len(clear), -1, -1, -1).clone().requires_grad_(True)
        optimizer = torch.optim.AdamW([vectors], lr=self.rate)
        for _ in range(self.steps):
            classes = prompts.encoded(vectors).to(clear.device)
            # Of the images one by one: the sum over them, and AdamW, mix nothing.
            loss = entropy(scale * torch.einsum("nkd,ncd->nkc", clear, classes)).mean(1).sum()
            (vectors.grad,) = torch.autograd.grad(loss, vectors)
            optimizer.step()
        with torch.no_grad():
            return prompts.encoded(vectors).to(clear.device)

    def _units(self, undefended: ZeroShotClassifier, images: Tensor) -> Tensor:
        cropped = [
            random_resized_crops(images, self.keys(images, number), SMALLEST)
            for number in range(self.crops)
        ]
        embeddings = F.normalize(undefended.embed(torch.cat([images, *cropped])).float(), dim=-1)
        return embeddings.view(self.views, len(images), -1)


class _Prompts:
    """The prompts of C classes by T templates, of L tokens each.

    Attributes:
        tokens: (C * T, L).
        tuned: which of a template's tokens stand before the name, (T, L).
        first: token vectors of the first class, (T, L, width).
    """

    def __init__(
        self, text: TunableText, class_names: tuple[str, ...], templates: tuple[str, ...]
    ) -> None:
        self.text, self.classes, self.templates = text, len(class_names), len(templates)
        self.tokens = text.tokenize([t.replace("{}", n) for n in class_names for t in templates])
        by_template = self.tokens.view(self.classes, self.templates, -1)
        before = text.tokenize([template.partition("{}")[0].rstrip() for template in templates])
        common = (by_template == before).all(0).int().cumprod(1).bool()
        common[:, 0] = False  # The token that begins every prompt.
        self.tuned = common
        assert text.token_embedding is not None
        with torch.no_grad():
            self.vectors: Tensor = text.token_embedding(self.tokens)
        self.first = self.vectors.view(*by_template.shape, -1)[0]

    def encoded(self, vectors: Tensor) -> Tensor:
        """Unit class vectors (N, C, dim) with token vectors (N, T, L, width) before the names."""
        n = len(vectors)
        own = self.vectors.view(1, self.classes, *self.first.shape)
        mixed = torch.where(self.tuned[..., None], vectors[:, None], own).flatten(0, 2)
        found = self.text.encode_vectors(self.tokens.repeat(n, 1), mixed)
        return F.normalize(found.view(n, self.classes, self.templates, -1).mean(2), dim=-1)
