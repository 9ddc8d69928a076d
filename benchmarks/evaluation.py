"""``python -m benchmarks pgd``: our evaluation and that of other code.

Labels are chosen so that clean accuracy is 64 %, like that of CLIP ViT-B/32 on the paper's data
sets, because misclassified samples need no attack.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.authors import TEMPLATE, CLIPWithText, pgd
from benchmarks.setting import EPS, Setting, labels_for_accuracy
from benchmarks.timing import Call, timed
from zsrobust.attacks import Attack, ThreatModel, make_attack
from zsrobust.data.loading import load_batches
from zsrobust.data.registry import open_set
from zsrobust.models.clip import CLIPModel
from zsrobust.models.folding import folded
from zsrobust.models.loading import load
from zsrobust.models.zero_shot import ZeroShotClassifier

CLEAN_ACCURACY = 0.64
STEPS = 10
SEED = 0
DATA_SET = "glyph:greek"


@dataclass
class Subject:
    """A classifier, images (N, 3, H, W) in [0, 1] and labels (N,)."""

    classifier: ZeroShotClassifier
    images: Tensor
    labels: Tensor

    @property
    def ids(self) -> list[str]:
        return [str(index) for index in range(len(self.labels))]

    @torch.no_grad()
    def correct(self, images: Tensor) -> Tensor:
        """Whether each image (N, 3, H, W) is classified correctly, (N,)."""
        return self.classifier(images).argmax(-1) == self.labels

    def robust(self, attack: Attack) -> Tensor:
        """Robust samples (N,); only correctly classified ones are attacked, as in ``evaluate``."""
        robust = self.correct(self.images)
        rows = robust.nonzero().flatten()
        adversarial = attack(
            self.classifier, self.images[rows], self.labels[rows], [self.ids[row] for row in rows]
        )
        with torch.no_grad():
            robust[rows] = self.classifier(adversarial).argmax(-1) == self.labels[rows]
        return robust

    def robust_of_all(self, attack: Attack) -> Tensor:
        """The same, but every sample is attacked."""
        adversarial = attack(self.classifier, self.images, self.labels, self.ids)
        return self.correct(self.images) & self.correct(adversarial)


def subject(setting: Setting) -> Subject:
    """Random weights and images, with labels for ``CLEAN_ACCURACY``."""
    model = setting.loaded()
    classifier = _classifier(model, setting.class_names(), setting.device)
    images, _ = setting.images(model.preprocessing.image_size)
    with torch.no_grad():
        predictions = classifier(images).argmax(-1)
    return Subject(classifier, images, labels_for_accuracy(CLEAN_ACCURACY, predictions))


def embedded_subject(n: int, device: str, model: str = "glyph-clip") -> Subject:
    """An embedded model on ``n`` images of ``DATA_SET``."""
    images = open_set(DATA_SET, "test")
    (batch,) = load_batches(images, [list(range(n))], resize="clip", resolution=32, workers=0)
    classifier = _classifier(load(model, device=device), images.class_names, device)
    return Subject(classifier, batch.images.to(device), batch.labels.to(device))


def _classifier(model: CLIPModel, names: Sequence[str], device: str) -> ZeroShotClassifier:
    classifier = model.classifier(names, (TEMPLATE,)).to(device).eval()
    classifier.encoder = folded(classifier.encoder)
    return classifier


def pgd_evaluation(setting: Setting, *, rounds: int) -> list[dict[str, object]]:
    """PGD-10: ours, the authors' and, if installed, that of torchattacks on our classifier."""
    own = subject(setting)
    model = CLIPWithText(setting)
    noise = torch.rand_like(own.images) * 2 * EPS - EPS
    attack = make_attack(f"pgd-{STEPS}", ThreatModel(eps=EPS), seed=SEED)

    def authors() -> Tensor:
        with torch.no_grad():
            clean = model(own.images).argmax(-1) == own.labels
        adversarial = pgd(model, own.images, own.labels, STEPS, noise)
        model.zero_grad()
        with torch.no_grad():
            return clean & (model(adversarial).argmax(-1) == own.labels)

    calls: dict[str, Call] = {
        "PGD-10, ours": lambda: own.robust(attack),
        "PGD-10, authors' implementation": authors,
    }
    if importlib.util.find_spec("torchattacks"):
        calls["PGD-10, torchattacks"] = lambda: robust_torchattacks(own)
    title = f"{setting.model}, {setting.batch} images, {setting.prompts} prompts, {setting.device}"
    return comparison_rows(title, calls, rounds, torch.device(setting.device), setting.batch)


def robust_torchattacks(subject: Subject) -> Tensor:
    """As in the documentation of torchattacks: every sample is attacked."""
    import torchattacks

    attack = torchattacks.PGD(subject.classifier, eps=EPS, alpha=EPS / 4, steps=STEPS)
    clean = subject.correct(subject.images)
    return clean & subject.correct(attack(subject.images, subject.labels))


def comparison_rows(
    setting: str, calls: Mapping[str, Call], rounds: int, device: torch.device, n: int
) -> list[dict[str, object]]:
    timings = timed(calls, rounds=rounds, device=device)
    ours = timings[next(iter(calls))].median
    return [
        {
            "setting": setting,
            "implementation": name,
            "seconds": timing.as_dict(),
            "images_per_second": n / timing.median,
            "time_vs_ours": timing.median / ours,
        }
        for name, timing in timings.items()
    ]
