"""A training step and a PGD attack as computed by the authors' public scripts, rewritten.

Prompts pass through the text encoder in every forward. The attack calls ``backward`` with gradients
enabled for every parameter. The teacher builds a graph and its weights receive gradients. Clean and
adversarial images have a forward each. ``Savings`` turns each of these off. The loss is that of the
preset ``paper`` (TeCoA if ``pmg_aft`` is false) with the random starts of our attack, so that tests
can compare the losses of all implementations.
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
    """Optimizations of the authors' step. Without any it is theirs, with all it computes ours.

    Attributes:
        text_encoded_once: prompts are encoded before the first step.
        weights_frozen_in_attack: no parameter receives a gradient in the attack.
        teacher_without_graph: the teacher's forward stores nothing for a backward.
        one_student_forward: clean and adversarial images share one forward of the student.
    """

    text_encoded_once: bool = False
    weights_frozen_in_attack: bool = False
    teacher_without_graph: bool = False
    one_student_forward: bool = False


class CLIPWithText(nn.Module):
    """Image and text encoder as one module: images (N, 3, H, W) in [0, 1] to logits (N, C)."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        model = setting.loaded()
        assert isinstance(model.text, OpenCLIPText)
        self.image_encoder = model.encoder
        self.text_encoder = model.text.model.to(setting.device)
        self.preprocessing, self.scale = model.preprocessing, model.logit_scale
        prompts = [TEMPLATE.format(name) for name in setting.class_names()]
        self.tokens = model.text.tokenize(prompts).to(setting.device)
        self.requires_grad_(True)
        self.class_embeddings: Tensor | None = None

    def encode_text_once(self) -> None:
        with torch.no_grad():
            self.class_embeddings = self._encode_text()

    def _encode_text(self) -> Tensor:
        text_encoder: Any = self.text_encoder
        return F.normalize(text_encoder.encode_text(self.tokens), dim=-1)

    def forward(self, images: Tensor) -> Tensor:
        classes = self._encode_text() if self.class_embeddings is None else self.class_embeddings
        features = F.normalize(self.image_encoder(self.preprocessing(images)), dim=-1)
        logits: Tensor = self.scale * features @ classes.T
        return logits


def pgd(model: nn.Module, images: Tensor, labels: Tensor, steps: int, noise: Tensor) -> Tensor:
    """PGD on the cross-entropy; ``backward`` also computes gradients of enabled parameters."""
    delta = noise.clone()
    for _ in range(steps):
        delta.requires_grad_(True)
        F.cross_entropy(model((images + delta).clamp(0, 1)), labels, reduction="sum").backward()
        assert delta.grad is not None
        delta = (delta.detach() + EPS * delta.grad.sign()).clamp(-EPS, EPS)
    return (images + delta).clamp(0, 1).detach()


def kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(P || Q) between two sets of logits (N, C), averaged over samples."""
    return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True)


class AuthorsStep:
    """One training step; every call uses the same batch."""

    def __init__(self, setting: Setting, *, pmg_aft: bool, savings: Savings | None = None) -> None:
        self.setting, self.savings = setting, savings or Savings()
        self.student = CLIPWithText(setting)
        self.teacher = CLIPWithText(setting) if pmg_aft else None
        self.images, self.labels = setting.images(self.student.preprocessing.image_size)
        ids = [str(index) for index in range(setting.batch)]
        self.noise = EPS * uniform_noise(self.images, ids, seed=0, purpose="pgd")
        if self.savings.text_encoded_once:
            for model in filter(None, (self.student, self.teacher)):
                model.encode_text_once()
        self.optimizer = torch.optim.SGD(
            self.student.image_encoder.parameters(), lr=LR, momentum=0.9
        )
        self.scaler = torch.amp.GradScaler(enabled=setting.precision == "fp16")

    def __call__(self) -> float:
        half = self.setting.precision == "fp16"
        context = torch.autocast("cuda", torch.float16) if half else contextlib.nullcontext()
        with context:
            if self.savings.weights_frozen_in_attack:
                self.student.requires_grad_(False)
            steps = self.setting.attack_steps
            adversarial = pgd(self.student, self.images, self.labels, steps, self.noise)
            self.student.requires_grad_(True)
            # The attack has added to the parameters' gradients.
            self.student.zero_grad()
            loss = self._loss(adversarial)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return float(loss.detach())

    def _loss(self, adversarial: Tensor) -> Tensor:
        if self.teacher is None:
            return F.cross_entropy(self.student(adversarial), self.labels)
        if self.savings.one_student_forward:
            logits, clean = self.student(torch.cat([adversarial, self.images])).chunk(2)
        else:
            logits, clean = self.student(adversarial), self.student(self.images)
        self.teacher.zero_grad()
        with torch.set_grad_enabled(not self.savings.teacher_without_graph):
            guide = self.teacher(adversarial)
        return F.cross_entropy(logits, self.labels) + kl(guide, logits) + kl(clean, logits)


def authors_step(setting: Setting, pmg_aft: bool) -> Callable[[], object]:
    return AuthorsStep(setting, pmg_aft=pmg_aft)
