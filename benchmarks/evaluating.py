"""``python -m benchmarks pgd`` and ``autoattack``: PGD-10 and AutoAttack of ours beside other code.

Labels are set so that the model is right on 64 % of the images, as CLIP ViT-B/32 is on the
paper's sets: what an attack may leave out depends on it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.authors_way import TEMPLATE, TwoTowers, attacked
from benchmarks.setting import EPS, Setting, labels_right_in
from benchmarks.side_by_side import timed
from zsrobust.attacks import Attack, ThreatModel, make_attack
from zsrobust.data.loading import load_batches
from zsrobust.data.registry import open_set
from zsrobust.models.clip import CLIPModel
from zsrobust.models.folding import folded
from zsrobust.models.loading import load
from zsrobust.models.zero_shot import ZeroShotClassifier

CLEAN = 0.64
STEPS = 10
SEED = 0
EMBEDDED_SET = "glyph:greek"
LIBRARY = "autoattack, pyautoattack"


@dataclass
class Subject:
    """A classifier, images and labels; verdicts (N,) are True where a sample stands."""

    classifier: ZeroShotClassifier
    images: Tensor
    labels: Tensor

    @property
    def ids(self) -> list[str]:
        return [str(index) for index in range(len(self.labels))]

    @torch.no_grad()
    def right(self, images: Tensor) -> Tensor:
        return self.classifier(images).argmax(-1) == self.labels

    def ours(self, attack: Attack) -> Tensor:
        """As ``zsrobust evaluate`` does: only what is right is attacked."""
        standing = self.right(self.images)
        rows = standing.nonzero().flatten()
        crafted = attack(
            self.classifier, self.images[rows], self.labels[rows], [self.ids[row] for row in rows]
        )
        with torch.no_grad():
            standing[rows] = self.classifier(crafted).argmax(-1) == self.labels[rows]
        return standing

    def all_attacked(self, attack: Attack) -> Tensor:
        """The same verdicts, with no look before the attack at what it need not try."""
        crafted = attack(self.classifier, self.images, self.labels, self.ids)
        return self.right(self.images) & self.right(crafted)


def subject(setting: Setting) -> Subject:
    """Random weights and images; labels as the module says."""
    model = setting.loaded()
    classifier = _classifier(model, setting.class_names(), setting.device)
    images, _ = setting.images(model.preprocessing.image_size)
    with torch.no_grad():
        predictions = classifier(images).argmax(-1)
    return Subject(classifier, images, labels_right_in(CLEAN, predictions))


def embedded_subject(n: int, device: str) -> Subject:
    """The embedded model on images that it knows."""
    images = open_set(EMBEDDED_SET, "test")
    (batch,) = load_batches(images, [list(range(n))], resize="clip", resolution=32, workers=0)
    classifier = _classifier(load("glyph-clip", device=device), images.class_names, device)
    return Subject(classifier, batch.images.to(device), batch.labels.to(device))


def _classifier(model: CLIPModel, names: Sequence[str], device: str) -> ZeroShotClassifier:
    classifier = model.classifier(names, (TEMPLATE,)).to(device).eval()
    classifier.encoder = folded(classifier.encoder)
    return classifier


def pgd_evaluation(setting: Setting, *, rounds: int) -> list[dict[str, object]]:
    """PGD-10 on every image: ours, the authors' way, and torchattacks', if here, on ours."""
    ours = subject(setting)
    towers = TwoTowers(setting)
    noise = torch.rand_like(ours.images) * 2 * EPS - EPS
    attack = make_attack(f"pgd-{STEPS}", ThreatModel(eps=EPS), seed=SEED)

    def theirs() -> Tensor:
        with torch.no_grad():
            clean = towers(ours.images).argmax(-1) == ours.labels
        crafted = attacked(towers, ours.images, ours.labels, STEPS, noise)
        towers.zero_grad()
        with torch.no_grad():
            return clean & (towers(crafted).argmax(-1) == ours.labels)

    ways: dict[str, Callable[[], object]] = {
        "PGD-10, ours": lambda: ours.ours(attack),
        "PGD-10, the authors' way": theirs,
    }
    if importlib.util.find_spec("torchattacks"):
        ways["PGD-10, torchattacks"] = lambda: torchattacks_verdicts(ours)
    words = f"{setting.model}, {setting.batch} images, {setting.prompts} prompts, {setting.device}"
    return _rows(words, ways, rounds, torch.device(setting.device), setting.batch)


def torchattacks_verdicts(subject: Subject) -> Tensor:
    """As its documentation has it: all images attacked, then one look at each kind."""
    import torchattacks

    attack = torchattacks.PGD(subject.classifier, eps=EPS, alpha=EPS / 4, steps=STEPS)
    clean = subject.right(subject.images)
    return clean & subject.right(attack(subject.images, subject.labels))


def autoattack_evaluation(
    n: int, eps: float, device: str, *, rounds: int
) -> list[dict[str, object]]:
    """AutoAttack as an ensemble of ours and as ``pyautoattack`` runs it, with their verdicts.

    They draw different random numbers, so a verdict on the brink may differ.
    """
    found = embedded_subject(n, device)
    verdicts: dict[str, Tensor] = {}

    def ours(way: str, attack: Attack) -> None:
        verdicts[way] = found.ours(attack)

    def library(way: str) -> None:
        verdicts[way] = pyautoattack_verdicts(found, eps)

    threat = ThreatModel(eps=eps)
    ways: dict[str, Callable[[], object]] = {
        f"{name}, ours": partial(ours, f"{name}, ours", make_attack(name, threat, seed=SEED))
        for name in ("autoattack", "autoattack-early")
    }
    ways[LIBRARY] = partial(library, LIBRARY)
    words = f"glyph-clip, {n} images of {EMBEDDED_SET} at {255 * eps:g}/255, {device}"
    rows = _rows(words, ways, rounds, torch.device(device), n)
    for row in rows:
        row["clean"] = int(found.right(found.images).sum())
        row["standing"] = int(verdicts[str(row["way"])].sum())
        differ = verdicts[str(row["way"])] != verdicts[LIBRARY]
        row["verdicts_that_differ"] = int(differ.sum())
    return rows


def pyautoattack_verdicts(subject: Subject, eps: float) -> Tensor:
    from pyautoattack import AutoAttack

    attack = AutoAttack(
        subject.classifier, eps=eps, norm="Linf", seed=SEED, device=subject.images.device
    )
    crafted = attack.run_standard_evaluation(
        subject.images, subject.labels, batch_size=len(subject.labels)
    )
    crafted = crafted[0] if isinstance(crafted, tuple) else crafted
    return subject.right(subject.images) & subject.right(crafted)


def _rows(
    setting: str, ways: dict[str, Callable[[], object]], rounds: int, device: torch.device, n: int
) -> list[dict[str, object]]:
    found = timed(ways, rounds=rounds, device=device)
    first = found[next(iter(ways))].median
    return [
        {
            "setting": setting,
            "way": way,
            "seconds": timing.as_dict(),
            "images_per_second": n / timing.median,
            "against_ours": timing.median / first,
        }
        for way, timing in found.items()
    ]
