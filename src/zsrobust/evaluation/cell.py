"""One model on one data set: the unit that is computed, cached and resumed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from zsrobust._version import __version__
from zsrobust.attacks import Attack, LibraryAttack, Transfer
from zsrobust.attacks.base import moved_outside
from zsrobust.data.image_set import ImageSet
from zsrobust.evaluation.draws import Draws, Judge
from zsrobust.evaluation.forecast import Work
from zsrobust.evaluation.measurement import Measurement
from zsrobust.evaluation.outcomes import Outcomes
from zsrobust.evaluation.progress import EvaluationProgress
from zsrobust.evaluation.results import Row
from zsrobust.evaluation.statistics import Predictions, count_predictions
from zsrobust.models.clip import CLIPModel
from zsrobust.models.text_side import vectors_digest
from zsrobust.models.weights import fingerprint
from zsrobust.utils.files import write_text

GRADIENTS = 32
MOVED = "-moved.json"
"""How names of files end that say how far an attack left the radius."""


# Samples computed and cached at a time: the most work a kill can lose. Library attacks draw
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
        two_phase: what decides the samples of ensembles that are run in two phases; None where
            every part runs on every sample.
        draws: further draws of a randomised defence that images are judged by; 0 for none.
    """

    model: CLIPModel
    images: ImageSet
    measurement: Measurement
    parts: Path
    attacks: list[Attack]
    notes: dict[str, str]
    doubts: list[str]
    two_phase: Mapping[str, object] | None = None
    draws: int = 0

    def on_all(self, attack: Attack) -> Attack:
        """What of ``attack`` is run on every sample: all of it, or the first part of two phases."""
        parts: tuple[Attack, ...] = getattr(attack, "parts", ())
        return attack if self.two_phase is None or len(parts) < 2 else parts[0]

    def key(self, attack: Attack | None) -> str:
        """Hash of everything that decides the outcomes, weights and sample ids included."""
        if attack is None:
            return self.key_of(None)
        whole = attack == self.on_all(attack)
        return self.key_of(attack.describe() if whole else [attack.describe(), self.two_phase])

    def key_of(self, what: object) -> str:
        """Hash of the model on the data, and of ``what`` was done with them."""
        text = json.dumps([self._identity, what], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def expect(self, progress: EvaluationProgress, ranges: Sequence[range]) -> None:
        """Say what is to be done of these chunks; what is on disk is done."""
        undefended = self.model.method == "original" and self.model.defence is None
        progress.forecast.weights[self.model.name] = self.measurement.classifier.encoder_passes
        for attack in (None, *map(self.on_all, self.attacks)):
            if self.work_in(progress, attack) is not None:
                continue  # It is also the first part of two phases.
            work = progress.work(self.model.name, self.images.name, attack, undefended=undefended)
            for at in ranges:
                if not self.holds(attack, at):
                    work.add(self._name(attack, at), [len(at)] * len(work.total))

    def holds(self, attack: Attack | None, at: range) -> bool:
        """Whether the chunk ``at`` is on disk."""
        return (self.parts / f"{self._name(attack, at)}.parquet").exists()

    def work_in(self, progress: EvaluationProgress, attack: Attack | None) -> Work | None:
        """What ``progress`` knows of this attack on this cell."""
        return progress.find(self.model.name, self.images.name, attack)

    def clean(self, progress: EvaluationProgress | None = None) -> Outcomes:
        """Outcomes without attack; what is on disk is not computed again."""
        return Outcomes.joined(self.clean_chunk(at, progress) for at in self.chunks)

    def attacked(self, attack: Attack, progress: EvaluationProgress | None = None) -> Outcomes:
        """Outcomes under ``attack``; what is on disk is not computed again."""
        return Outcomes.joined(self.attacked_chunk(attack, at, progress) for at in self.chunks)

    def row(
        self, attack: Attack, clean: Outcomes, after: Outcomes, zero_gradients: float | None
    ) -> Row:
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
            adaptive=self.meets_defence(attack),
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

    def meets_defence(self, attack: Attack) -> bool:
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
            # Not the vectors, whose last bits differ between processors, where anything else says.
            [
                self.model.text.fingerprint or vectors_digest(classifier.class_embeddings),
                classifier.templates,
                classifier.class_names,
            ],
            [images.name, images.split, list(images.sample_ids), list(images.labels)],
            [images.stamp, self.measurement.resize, self.measurement.resolution],
            [self.measurement.device.type, torch.__version__, __version__],
            *([further] if further else []),
            *([dict(self.model.code)] if self.model.code else []),
            *([{"draws": self.draws}] if self.draws else []),
        ]

    @property
    def chunks(self) -> list[range]:
        """Fixed runs of samples, aligned to the set: what is computed and cached at a time."""
        n = len(self.images)
        return [range(at, min(at + CHUNK, n)) for at in range(0, n, CHUNK)]

    def clean_chunk(self, at: range, progress: EvaluationProgress | None = None) -> Outcomes:
        """Outcomes of the chunk ``at`` without attack."""

        def compute(judge: Judge | None) -> Outcomes:
            return self.measurement.clean(list(at), judge)

        return self._chunk(None, at, progress, compute)

    def attacked_chunk(
        self, attack: Attack, at: range, progress: EvaluationProgress | None = None
    ) -> Outcomes:
        """Outcomes of the chunk ``at`` under ``attack``."""

        def compute(judge: Judge | None) -> Outcomes:
            outcomes = self.clean_chunk(at)
            # The parts of an ensemble run in turn, each on the samples still correct.
            for part in getattr(attack, "parts", [attack]):
                outcomes = self.measurement.attacked(part, outcomes, list(at), progress, judge)
            return outcomes

        return self._chunk(attack, at, progress, compute)

    def _chunk(
        self,
        attack: Attack | None,
        at: range,
        progress: EvaluationProgress | None,
        compute: Callable[[Judge | None], Outcomes],
    ) -> Outcomes:
        work = None if progress is None else self.work_in(progress, attack)
        name = self._name(attack, at)

        def judged() -> Outcomes:
            if not self.draws:
                return compute(None)
            judge = Judge(self.measurement.classifier, self.draws)
            outcomes = compute(judge)
            # Before the outcomes: where these are on disk, so are the draws.
            judge.draws.write(self._drawn(name))
            return outcomes

        return self.cached(name, len(at), judged, progress, work)

    def drawn(self, attack: Attack | None) -> Draws:
        """What the draws of a randomised defence said of the images of an attack that has run."""
        return Draws.joined([Draws.read(self._drawn(self._name(attack, at))) for at in self.chunks])

    def _drawn(self, name: str) -> Path:
        return self.parts / f"{name}-draws.parquet"

    def _name(self, attack: Attack | None, at: range) -> str:
        return f"{self.key(attack)}/{at.start}"

    def cached(
        self,
        name: str,
        samples: int,
        compute: Callable[[], Outcomes],
        progress: EvaluationProgress | None = None,
        work: Work | None = None,
    ) -> Outcomes:
        """The outcomes on disk under ``name``; computed and put there if there are none.

        Args:
            name: of the file, and of the chunk in ``work``.
            samples: how many outcomes there are.
            compute: computes them.
            progress: told about them.
            work: what they belong to.
        """
        progress = progress or EvaluationProgress()
        outcomes = self.on_disk(name)
        if outcomes is None:
            progress.begin(work, name, samples)
            with moved_outside() as moved:
                outcomes = compute()
            if moved:
                # Before the outcomes, as draws are.
                write_text(self.parts / f"{name}{MOVED}", json.dumps(moved))
            outcomes.write(self.parts / f"{name}.parquet")
        progress.finish(work, name, outcomes.fell_to)
        return outcomes

    def moved_outside(self, attack: Attack) -> dict[str, float]:
        """How far ``attack`` and its parts moved images beyond the radius, by name, if at all."""
        found: dict[str, float] = {}
        for path in (self.parts / self.key(self.on_all(attack))).glob(f"*{MOVED}"):
            for name, length in json.loads(path.read_text(encoding="utf-8")).items():
                found[name] = max(length, found.get(name, 0.0))
        return found

    def on_disk(self, name: str) -> Outcomes | None:
        """The outcomes under ``name``, None where there is nothing whole."""
        return Outcomes.read(self.parts / f"{name}.parquet")
