"""Attacks at a fraction of their budget, and classifiers whose worst case is known exactly."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zsrobust.attacks import Ensemble, LibraryAttack, make_attack
from zsrobust.models.zero_shot import ZeroShotClassifier

FEWER = {"n_iter": 12, "n_queries": 60}


@pytest.fixture
def quick():
    """The named attack; those of the library with fewer iterations and queries."""

    def shortened(attack):
        if isinstance(attack, Ensemble):
            return replace(attack, parts=tuple(map(shortened, attack.parts)))
        if isinstance(attack, LibraryAttack):
            fewer = {key: FEWER.get(key, value) for key, value in attack.parameters.items()}
            return replace(attack, parameters=fewer)
        return attack

    def make(name, threat, **options):
        return shortened(make_attack(name, threat, **options))

    return make


class Hyperplane:
    """Classes 0 and 1 part at a hyperplane through the origin; classes 2 and 3 never win.

    The cosine decides by the sign of x . w with w = c0 - c1, so a sample falls exactly if its
    margin |x . w| is below eps times the dual norm of w (and no pixel meets the range's end).
    """

    def __init__(self, negative):
        generator = torch.Generator().manual_seed(4)
        flat = torch.ones(192) / 192**0.5
        tilt = torch.randn(192, generator=generator)
        tilt = F.normalize(tilt - tilt.mean(), dim=0)
        side = -1.0 if negative else 1.0
        far = F.normalize(tilt.flip(0) - (tilt.flip(0) @ tilt) * tilt, dim=0)
        vectors = torch.stack([side * flat + tilt, side * flat - tilt])
        if negative:
            # Further off than the other two, whose logits are negative already.
            others = torch.stack([-3 * flat + 0.1 * far, -3 * flat - 0.1 * far])
        else:
            others = torch.stack([-flat + far, -flat - far])
        self.classifier = ZeroShotClassifier.from_parts(
            nn.Flatten(), torch.cat([vectors, others]), list("abcd"), logit_scale=20
        )
        self.images = 0.3 + 0.4 * torch.rand(100, 3, 8, 8, generator=generator)
        w = self.classifier.class_embeddings[0] - self.classifier.class_embeddings[1]
        margins = self.images.flatten(1) @ w
        self.labels = (margins < 0).long()
        self.margins = margins.abs()
        self.dual = {"linf": w.abs().sum(), "l2": w.square().sum().sqrt()}
        self.ids = [str(index) for index in range(100)]


@pytest.fixture
def hyperplane():
    def make(negative=False):
        return Hyperplane(negative)

    return make


class Pooled(nn.Module):
    """Colour means of the four quarters: 12 numbers of any image, with BatchNorm on top."""

    def __init__(self, dim):
        super().__init__()
        self.body = nn.Sequential(
            nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, dim), nn.BatchNorm1d(dim)
        )

    def forward(self, images):
        return self.body(images - 0.5)


@pytest.fixture
def of_classes():
    """A classifier of any number of classes, and images that it classifies right."""

    def make(classes, n=12):
        with torch.random.fork_rng():
            torch.manual_seed(classes)
            encoder = Pooled(8).eval()
            # Centred, so that random images fall into every class.
            with torch.no_grad():
                encoder.body[2].bias.sub_(encoder(torch.rand(256, 3, 6, 6)).mean(0))
            vectors = torch.randn(classes, 8)
            images = torch.rand(n, 3, 6, 6)
        names = [f"class {index}" for index in range(classes)]
        model = ZeroShotClassifier.from_parts(encoder, vectors, names, logit_scale=20)
        labels = model(images).argmax(-1)
        return model, images, labels, [f"sample {index}" for index in range(n)]

    return make
