"""A classifier run on images, as they are and under attack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from zsrobust.attacks import Attack, Transfer
from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import cross_entropy, margin
from zsrobust.attacks.pgd import LossFunction, input_gradient
from zsrobust.data.batch import Batch
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import load_batches
from zsrobust.evaluation.draws import Judge
from zsrobust.evaluation.outcomes import Outcomes
from zsrobust.evaluation.progress import EvaluationProgress
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import NoGradient, RunError
from zsrobust.utils.own_code import described

GRADIENTS = 32


@dataclass(frozen=True)
class Measurement:
    """A classifier and the images to run it on.

    Attributes:
        classifier: in evaluation mode, on its device.
        images: the data set.
        batch_size: images at once.
        resize, resolution: the loader's resize, and the attack resolution in pixels.
        workers: processes that read images.
        device: where the classifier is.
    """

    classifier: ZeroShotClassifier
    images: ImageSet
    batch_size: int
    resize: str
    resolution: int
    workers: int
    device: torch.device

    def clean(self, indices: list[int], judge: Judge | None = None) -> Outcomes:
        """Outcomes of the samples at ``indices`` as loaded."""
        outcomes = Outcomes([], [], [], [], [], [])
        for batch in self.batches(indices, self.batch_size):
            if judge is not None:
                judge(batch, batch.images)
            predictions, losses, margins = self._predict(batch, batch.images)
            labels = batch.labels.tolist()
            outcomes.sample_ids.extend(batch.sample_ids)
            outcomes.labels.extend(labels)
            outcomes.predictions.extend(predictions)
            outcomes.losses.extend(losses)
            outcomes.margins.extend(margins)
            outcomes.fell_to.extend(
                "" if label == found else "clean"
                for label, found in zip(labels, predictions, strict=True)
            )
        return outcomes

    def attacked(
        self,
        attack: Attack,
        before: Outcomes,
        indices: list[int],
        progress: EvaluationProgress | None = None,
        judge: Judge | None = None,
    ) -> Outcomes:
        """Outcomes of the samples at ``indices`` after ``attack``, given those ``before`` it.

        Samples that have fallen before are not attacked: they count as fallen either way. Where
        there is a ``judge`` all are, since another draw may be right where this one is not.
        """
        progress = progress or EvaluationProgress()
        after = Outcomes(
            before.sample_ids,
            before.labels,
            list(before.predictions),
            list(before.losses),
            list(before.margins),
            list(before.fell_to),
        )
        right = before.right
        asked = [place for place, standing in enumerate(right) if standing or judge is not None]
        places = iter(asked)
        # An attack of fixed chunks draws its random numbers for all that it is given at once.
        size = self.batch_size if attack.chunk is None else attack.chunk
        watched = attack.surrogate if isinstance(attack, Transfer) else self.classifier
        progress.start(attack, len(asked))
        for batch in self.batches([indices[place] for place in asked], size):
            with watched.observed(progress.passed):
                adversarial = attack(self.classifier, batch.images, batch.labels, batch.sample_ids)
            if judge is not None:
                judge(batch, adversarial)
            predictions, losses, margins = self._predict(batch, adversarial)
            stood = 0
            for label, found, loss, gap in zip(
                batch.labels.tolist(), predictions, losses, margins, strict=True
            ):
                place = next(places)
                stood += label == found
                if right[place]:
                    after.predictions[place], after.losses[place] = found, loss
                    after.margins[place] = gap
                    after.fell_to[place] = "" if label == found else attack.name
            progress.judged(len(batch), stood)
        return after

    def zero_gradients(self, clean: Outcomes, attacks: Iterable[Attack] = ()) -> float | None:
        """Share of exactly zero entries in the cross-entropy's gradient at clean images.

        Of the first samples that the model has right; nan if there are none. A gradient that is
        zero gives an attack no direction, and its accuracy no meaning. None of a model without a
        gradient, where ``attacks`` can do without; those of the user's own may.

        Raises:
            NoGradient: if one cannot.
        """
        needed = any(one.needs_gradient and not described(type(one)) for one in attacks)
        right = [index for index, standing in enumerate(clean.right) if standing]
        for batch in self.batches(right[:GRADIENTS], GRADIENTS):
            try:
                with frozen(self.classifier):
                    gradient = input_gradient(self._loss_with(batch.labels), batch.images)
            except NoGradient:
                if needed:
                    raise
                return None
            return float((gradient == 0).float().mean())
        return math.nan

    def _loss_with(self, labels: torch.Tensor) -> LossFunction:
        return lambda images: cross_entropy(self.classifier(images), labels)

    @torch.no_grad()
    def _predict(
        self, batch: Batch, images: torch.Tensor
    ) -> tuple[list[int], list[float], list[float]]:
        logits = self.classifier(images)
        # NaN compares as no class at all, and would count as a mistake.
        if bool(logits.isnan().any()):
            first = batch.sample_ids[int(logits.isnan().any(-1).nonzero()[0])]
            raise RunError(f"a logit for {first} of {self.images.name} is NaN: check the weights")
        losses, margins = cross_entropy(logits, batch.labels), -margin(logits, batch.labels)
        return logits.argmax(-1).tolist(), losses.tolist(), margins.tolist()

    def batches(self, indices: list[int], size: int) -> Iterator[Batch]:
        """The samples at ``indices`` in batches of ``size``, on the classifier's device."""
        loaded = load_batches(
            self.images,
            [indices[at : at + size] for at in range(0, len(indices), size)],
            resize=self.resize,
            resolution=self.resolution,
            workers=self.workers,
        )
        return (batch.to(self.device) for batch in loaded)
