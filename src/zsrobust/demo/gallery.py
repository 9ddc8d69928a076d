"""Which samples the gallery shows, and the attack on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.config.schema import Device
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import attack_resolution, load_batches
from zsrobust.data.registry import opening
from zsrobust.data.split import take
from zsrobust.data.suites import expand
from zsrobust.demo.plan import Plan
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.gallery import Gallery, attacked_item
from zsrobust.evaluation.results import Row
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.utils.devices import full_precision, torch_device
from zsrobust.utils.units import Eps

CHOSEN = (
    "From each of several sets: the first sample of a new class that the original classifies "
    "correctly."
)
Pick = tuple[ImageSet, int]


def gallery_of_run(run: EvaluatedRun, plan: Plan, tuned: str, *, device: Device) -> Gallery:
    """Samples of the evaluation, attacked as there: the original and the model ``tuned``.

    Unseen sets come first; there are as many samples as the plan asks for, if there are so many.
    """
    rows = [row for row in run.results.rows if row.model == plan.model]
    seen = {row.dataset for row in run.results.rows if row.seen}
    opened = [_drawn(opening(spec, "test")(), plan.samples) for spec in expand(plan.data)]
    by_name = {images.name: images for images in opened}
    # Of one set, every attack's row has the same clean outcomes.
    row_of = {row.dataset: row for row in sorted(rows, key=lambda row: row.dataset in seen)}
    picks = [_one_a_class(run, row, by_name[name]) for name, row in row_of.items()]
    rounds = chain.from_iterable(zip_longest(*_spread([p for p in picks if p], plan.pictures)))
    chosen = [pick for pick in rounds if pick is not None][: plan.pictures]
    models = {name: load(name, device=torch_device(device)) for name in (plan.model, tuned)}
    return attacked(chosen, models, plan.attack[0], plan.eps, CHOSEN)


def _spread(of_sets: list[list[Pick]], count: int) -> list[list[Pick]]:
    """At most ``count`` of the sets, evenly spread: neighbours in a suite are often of one kind."""
    if len(of_sets) <= count:
        return of_sets
    return [of_sets[place * len(of_sets) // count] for place in range(count)]


def _one_a_class(run: EvaluatedRun, row: Row, images: ImageSet) -> list[Pick]:
    """The first sample of each class that is right before the attack, in the set's order."""
    samples, clean, _ = run.right(row)
    right = {sample for sample, is_right in zip(samples, clean, strict=True) if is_right}
    first: dict[int, Pick] = {}
    for index, (name, label) in enumerate(zip(images.sample_ids, images.labels, strict=True)):
        if f"{name} ({label})" in right:
            first.setdefault(label, (images, index))
    return list(first.values())


def attacked(
    picks: Sequence[Pick],
    models: dict[str, CLIPModel],
    attack: str,
    eps: Eps,
    chosen: str,
) -> Gallery:
    """The samples at these places of these sets, attacked against each model.

    Args:
        picks: sets and indices.
        models: by name; the last one, the tuned one, says how images are resized.
        attack: its name; seed 0, as in an evaluation.
        eps: radius in L-inf.
        chosen: how the samples were chosen, as a sentence.
    """
    tuned = list(models.values())[-1]
    made = make_attack(attack, ThreatModel(eps=float(eps)), seed=0)
    items = []
    with full_precision():
        for images, index in picks:
            classifiers = {
                name: model.classifier(
                    images.class_names, images.templates or None, lambda _: None
                ).eval()
                for name, model in models.items()
            }
            device = next(tuned.encoder.parameters()).device
            (batch,) = load_batches(
                images,
                [[index]],
                resize=tuned.loader_resize,
                resolution=attack_resolution(images, tuned.preprocessing.image_size),
            )
            items.append(
                attacked_item(
                    images.name,
                    batch.sample_ids[0],
                    batch.images[0].to(device),
                    int(batch.labels[0]),
                    {name: one.to(device) for name, one in classifiers.items()},
                    made,
                )
            )
    return Gallery(
        f"{made.name} {eps}", {name: model.method for name, model in models.items()}, chosen, items
    )


def _drawn(images: ImageSet, samples: int | None) -> ImageSet:
    """The part of a set that an evaluation of seed 0 is over."""
    return images if samples is None else take(images, samples, seed=0)
