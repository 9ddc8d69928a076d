"""One model on one data set: the unit that is computed, kept, and found again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from zsrobust.attacks import Attack
from zsrobust.data.image_set import ImageSet
from zsrobust.evaluation.measure import Measurement
from zsrobust.evaluation.outcomes import Outcomes
from zsrobust.evaluation.results import Row
from zsrobust.models.clip import CLIPModel
from zsrobust.models.weights import fingerprint
from zsrobust.progress import Steps


@dataclass(frozen=True)
class Cell:
    """A model, a data set, and what of them is already on disk.

    Attributes:
        model: the model.
        images: the data set.
        measurement: how to run the one on the other.
        parts: folder of finished outcomes, a file each.
    """

    model: CLIPModel
    images: ImageSet
    measurement: Measurement
    parts: Path

    def key(self, attack: Attack | None) -> str:
        """Hash of everything that decides the outcomes, weights and sample ids included."""
        text = json.dumps([self._identity, attack and attack.describe()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def clean(self, progress: Steps) -> Outcomes:
        """Outcomes without attack, computed unless they are on disk."""
        path = self._path(None)
        outcomes = self._finished(path, progress)
        if outcomes is None:
            outcomes = self.measurement.clean(progress)
            outcomes.write(path)
        return outcomes

    def under(self, attack: Attack, clean: Outcomes, progress: Steps) -> Outcomes:
        """Outcomes under ``attack``, computed unless they are on disk."""
        path = self._path(attack)
        outcomes = self._finished(path, progress)
        if outcomes is None:
            outcomes = self.measurement.under(attack, clean, progress)
            outcomes.write(path)
        return outcomes

    def row(self, attack: Attack, clean: Outcomes, after: Outcomes) -> Row:
        """The result of one attack."""
        pairs = list(zip(clean.right, after.right, strict=True))
        return Row.counted(
            dataset=self.images.name,
            split=self.images.split,
            model=self.model.name,
            method=self.model.method,
            seen=not self.model.seen.isdisjoint({self.images.name, self.images.origin}),
            resolution=self.measurement.resolution,
            attack=attack.name,
            norm=attack.threat.norm,
            eps=float(attack.threat.eps),
            key=self.key(attack),
            n=len(pairs),
            clean=sum(before for before, _ in pairs),
            robust=sum(before and later for before, later in pairs),
        )

    @cached_property
    def _identity(self) -> list[object]:
        classifier, images = self.measurement.classifier, self.images
        vectors = classifier.class_embeddings.cpu().numpy().tobytes()
        return [
            self.model.name,
            fingerprint(classifier.encoder),
            classifier.logit_scale,
            self.model.preprocessing.describe(),
            hashlib.sha256(vectors).hexdigest(),
            [images.name, images.split, list(images.sample_ids), list(images.labels)],
            [images.stamp, self.measurement.resize, self.measurement.resolution],
            [self.measurement.device.type, torch.__version__],
        ]

    def _path(self, attack: Attack | None) -> Path:
        return self.parts / f"{self.key(attack)}.parquet"

    def _finished(self, path: Path, progress: Steps) -> Outcomes | None:
        outcomes = Outcomes.read(path)
        if outcomes is not None:
            progress.advance(len(self.images))
        return outcomes
