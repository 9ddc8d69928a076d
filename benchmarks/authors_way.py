"""A step and an evaluation as the public scripts compute them, written out in our own words.

Prompts go through the text encoder in every forward; the attack runs ``backward`` with every
parameter asking for its gradient; the frozen model keeps its graph, and its weights get gradients
too; each view of the images has a forward of its own. The numbers are those of the preset ``paper``
(of TeCoA where ``guided`` is off), so that a test can hold both ways against each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.setting import EPS, Setting
from zsrobust.models.open_clip_text import OpenCLIPText

LR = 1e-5
TEMPLATE = "This is a photo of a {}"


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

    def forward(self, images: Tensor) -> Tensor:
        texts: Any = self.texts
        vectors = F.normalize(texts.encode_text(self.tokens), dim=-1)
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

    def __init__(self, setting: Setting, *, guided: bool) -> None:
        self.setting, self.guided = setting, guided
        self.student = TwoTowers(setting)
        self.frozen = TwoTowers(setting) if guided else None
        self.pixels, self.labels = setting.images(self.student.preprocessing.image_size)
        generator = torch.Generator().manual_seed(1)
        noise = torch.rand(self.pixels.shape, generator=generator) * 2 * EPS - EPS
        self.noise = noise.to(setting.device)
        self.optimizer = torch.optim.SGD(self.student.images.parameters(), lr=LR, momentum=0.9)
        self.scaler = torch.amp.GradScaler(enabled=setting.precision == "fp16")

    def __call__(self) -> float:
        half = self.setting.precision == "fp16"
        context = torch.autocast("cuda", torch.float16) if half else contextlib.nullcontext()
        with context:
            attack_steps = self.setting.attack_steps
            crafted = attacked(self.student, self.pixels, self.labels, attack_steps, self.noise)
            # What the attack left in the parameters' gradients is dropped here.
            self.student.zero_grad()
            logits = self.student(crafted)
            loss = F.cross_entropy(logits, self.labels)
            if self.frozen is not None:
                self.frozen.zero_grad()
                loss = (
                    loss + kl(self.frozen(crafted), logits) + kl(self.student(self.pixels), logits)
                )
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(loss.detach())


def authors_step(setting: Setting, guided: bool) -> Callable[[], object]:
    return AuthorsStep(setting, guided=guided)
