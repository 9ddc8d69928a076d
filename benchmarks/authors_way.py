"""A step and an evaluation as the public scripts compute them, written out in our own words.

Prompts go through the text encoder in every forward; the attack runs ``backward`` with every
parameter asking for its gradient; the frozen model keeps its graph, and its weights get gradients
too; each view of the images has a forward of its own. Each of these can be left out (``Savings``).
The numbers are those of the preset ``paper`` (of TeCoA where ``guided`` is off) with the random
starts of our attack, so that a test can hold all ways against each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.setting import EPS, Setting
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.utils.noise import uniform_noise

LR = 1e-5
TEMPLATE = "This is a photo of a {}"


@dataclass(frozen=True)
class Savings:
    """What of the authors' way is left out; none is theirs, all is ours in other words.

    Attributes:
        text_once: prompts are encoded before the first step.
        frozen_in_attack: no parameter asks for a gradient while images are crafted.
        original_without_graph: the frozen model's forward keeps nothing for a backward.
        together: clean and crafted images go through the student in one forward.
    """

    text_once: bool = False
    frozen_in_attack: bool = False
    original_without_graph: bool = False
    together: bool = False


THEIRS = Savings()


class TwoTowers(nn.Module):
    """Image and text tower behind one call: images in [0, 1] and tokens to logits."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        model = setting.loaded()
        assert isinstance(model.text, OpenCLIPText)
        self.images, self.texts = model.encoder, model.text.model.to(setting.device)
        self.preprocessing, self.scale = model.preprocessing, model.logit_scale
        prompts = [TEMPLATE.format(name) for name in setting.class_names()]
        self.tokens = model.text.tokenize(prompts).to(setting.device)
        self.requires_grad_(True)
        self.vectors: Tensor | None = None

    def encode_text_once(self) -> None:
        with torch.no_grad():
            self.vectors = self._text()

    def _text(self) -> Tensor:
        texts: Any = self.texts
        return F.normalize(texts.encode_text(self.tokens), dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        vectors = self._text() if self.vectors is None else self.vectors
        features = F.normalize(self.images(self.preprocessing(images)), dim=-1)
        logits: Tensor = self.scale * features @ vectors.T
        return logits


def attacked(model: nn.Module, images: Tensor, labels: Tensor, steps: int, noise: Tensor) -> Tensor:
    """PGD on the cross-entropy, the gradient taken by ``backward`` through everything."""
    change = noise.clone()
    for _ in range(steps):
        change.requires_grad_(True)
        F.cross_entropy(model((images + change).clamp(0, 1)), labels, reduction="sum").backward()
        assert change.grad is not None
        change = (change.detach() + EPS * change.grad.sign()).clamp(-EPS, EPS)
    return (images + change).clamp(0, 1).detach()


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(P || Q) of two rows of logits, the mean over samples."""
    return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True)


class AuthorsStep:
    """One fine-tuning step, called again and again on one batch."""

    def __init__(self, setting: Setting, *, guided: bool, savings: Savings = THEIRS) -> None:
        self.setting, self.guided, self.savings = setting, guided, savings
        self.student = TwoTowers(setting)
        self.frozen = TwoTowers(setting) if guided else None
        self.pixels, self.labels = setting.images(self.student.preprocessing.image_size)
        ids = [str(index) for index in range(setting.batch)]
        self.noise = EPS * uniform_noise(self.pixels, ids, seed=0, purpose="pgd")
        if savings.text_once:
            for towers in filter(None, (self.student, self.frozen)):
                towers.encode_text_once()
        self.optimizer = torch.optim.SGD(self.student.images.parameters(), lr=LR, momentum=0.9)
        self.scaler = torch.amp.GradScaler(enabled=setting.precision == "fp16")

    def __call__(self) -> float:
        half = self.setting.precision == "fp16"
        context = torch.autocast("cuda", torch.float16) if half else contextlib.nullcontext()
        with context:
            if self.savings.frozen_in_attack:
                self.student.requires_grad_(False)
            steps = self.setting.attack_steps
            crafted = attacked(self.student, self.pixels, self.labels, steps, self.noise)
            self.student.requires_grad_(True)
            # What the attack left in the parameters' gradients is dropped here.
            self.student.zero_grad()
            loss = self._loss(crafted)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(loss.detach())

    def _loss(self, crafted: Tensor) -> Tensor:
        if self.frozen is None:
            return F.cross_entropy(self.student(crafted), self.labels)
        if self.savings.together:
            logits, clean = self.student(torch.cat([crafted, self.pixels])).chunk(2)
        else:
            logits, clean = self.student(crafted), self.student(self.pixels)
        self.frozen.zero_grad()
        with torch.set_grad_enabled(not self.savings.original_without_graph):
            original = self.frozen(crafted)
        return F.cross_entropy(logits, self.labels) + kl(original, logits) + kl(clean, logits)


def authors_step(setting: Setting, guided: bool) -> Callable[[], object]:
    return AuthorsStep(setting, guided=guided)
