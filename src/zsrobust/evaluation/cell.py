"""One model on one data set: the unit that is computed, kept, and found again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from zsrobust._version import __version__
from zsrobust.attacks import Attack, LibraryAttack, Transfer
from zsrobust.data.image_set import ImageSet
from zsrobust.evaluation.collapse import Predictions, count_predictions
from zsrobust.evaluation.measure import Measurement
from zsrobust.evaluation.outcomes import Outcomes
from zsrobust.evaluation.results import Row
from zsrobust.models.clip import CLIPModel
from zsrobust.models.weights import fingerprint
from zsrobust.utils.progress import Steps

# Samples computed and kept at a time, and so the most that a kill can cost. Library attacks draw
# their random numbers for one such chunk at a time.
CHUNK = LibraryAttack.chunk


@dataclass(frozen=True)
class Cell:
    """A model, a data set, and what of them is already on disk.

    Attributes:
        model: the model.
        images: the data set.
        measurement: how to run the one on the other.
        parts: folder of finished outcomes, a file a chunk.
        attacks: those asked for that are defined for the set's number of classes.
        notes: what was changed in an attack for this number of classes, by the attack's name.
        doubts: what the model does not read of the set's class names as it is meant, in sentences.
    """

    model: CLIPModel
    images: ImageSet
    measurement: Measurement
    parts: Path
    attacks: list[Attack]
    notes: dict[str, str]
    doubts: list[str]

    def key(self, attack: Attack | None) -> str:
        """Hash of everything that decides the outcomes, weights and sample ids included."""
        return self.key_of(attack and attack.describe())

    def key_of(self, what: object) -> str:
        """Hash of the model on the data, and of ``what`` was done with them."""
        text = json.dumps([self._identity, what], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def clean(self, progress: Steps | None = None) -> Outcomes:
        """Outcomes without attack; what is on disk is not computed again."""
        return Outcomes.joined(self._clean(at, progress) for at in self.chunks)

    def under(self, attack: Attack, progress: Steps | None = None) -> Outcomes:
        """Outcomes under ``attack``; what is on disk is not computed again."""
        return Outcomes.joined(self._under(attack, at, progress) for at in self.chunks)

    def compute(self, at: range, progress: Steps) -> None:
        """Put the chunk ``at`` on disk, clean and under every attack."""
        self._clean(at, progress)
        for attack in self.attacks:
            self._under(attack, at, progress)

    def row(self, attack: Attack, clean: Outcomes, after: Outcomes, zero_gradients: float) -> Row:
        """The result of one attack."""
        n, standing, after_part = len(clean.right), sum(clean.right), {}
        fallen = Counter(after.fell_to)
        for part in getattr(attack, "parts", []):
            standing -= fallen[part.name]
            after_part[part.name] = standing / n
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
            note=self.notes.get(attack.name, ""),
            zero_gradients=zero_gradients,
            ties=clean.ties + after.ties,
            after_part=after_part,
            adaptive=self._meets_defence(attack),
            n=n,
            clean=sum(clean.right),
            robust=sum(after.right),
            **self._predictions(clean),
        )

    def _predictions(self, clean: Outcomes) -> Predictions:
        names = self.images.class_names
        labels, predictions = (
            np.bincount(found, minlength=len(names)).tolist()
            for found in (clean.labels, clean.predictions)
        )
        return count_predictions(labels, predictions, names)

    def _meets_defence(self, attack: Attack) -> bool:
        """Whether ``attack`` makes its images with the model's defence, or there is none."""
        around = isinstance(attack, Transfer) and not attack.surrogate.further_settings()
        return self.model.defence is None or not around

    @cached_property
    def _identity(self) -> list[object]:
        classifier, images = self.measurement.classifier, self.images
        further = classifier.further_settings()
        return [
            self.model.name,
            fingerprint(self.model.encoder),
            classifier.logit_scale,
            self.model.preprocessing.describe(),
            # Not the vectors, whose last bits differ between processors.
            [self.model.text.fingerprint, classifier.templates, classifier.class_names],
            [images.name, images.split, list(images.sample_ids), list(images.labels)],
            [images.stamp, self.measurement.resize, self.measurement.resolution],
            [self.measurement.device.type, torch.__version__, __version__],
            *([further] if further else []),
        ]

    @property
    def chunks(self) -> list[range]:
        """Fixed runs of samples, aligned to the set: what is computed and kept at a time."""
        n = len(self.images)
        return [range(at, min(at + CHUNK, n)) for at in range(0, n, CHUNK)]

    def _clean(self, at: range, progress: Steps | None = None) -> Outcomes:
        return self._kept(None, at, progress, lambda: self.measurement.clean(list(at)))

    def _under(self, attack: Attack, at: range, progress: Steps | None) -> Outcomes:
        def compute() -> Outcomes:
            outcomes = self._clean(at)
            # The parts of an ensemble run in turn, each on what still stands of the chunk.
            for part in getattr(attack, "parts", [attack]):
                outcomes = self.measurement.under(part, outcomes, list(at))
            return outcomes

        return self._kept(attack, at, progress, compute)

    def _kept(
        self,
        attack: Attack | None,
        at: range,
        progress: Steps | None,
        compute: Callable[[], Outcomes],
    ) -> Outcomes:
        path = self.parts / self.key(attack) / f"{at.start}.parquet"
        outcomes = Outcomes.read(path)
        if outcomes is None:
            outcomes = compute()
            outcomes.write(path)
        if progress is not None:
            progress.advance(len(at))
        return outcomes
