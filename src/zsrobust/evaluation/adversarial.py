"""``evaluate --save_adversarial``: images before and after an attack, in the run folder.

A folder a model, data set and attack holds ``samples.npz``, a :class:`Gallery` with the pixels as
the model sees them, in float32; ``samples.json``, what became of each sample; and PNGs to look at.
A PNG is rounded to 8 bits, which may undo an attack: the images to evaluate are those in the
archive.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zsrobust.attacks import Attack
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.gallery import Gallery, Item, Prediction, View
from zsrobust.evaluation.results import Row
from zsrobust.utils.files import atomic_folder
from zsrobust.utils.progress import Steps

FOLDER, SAMPLES, ABOUT = "adversarial", "samples.npz", "samples.json"
CHOSEN = (
    "Samples that are right before the attack, in a random order that is the same for all models: "
    "half of them fell in the evaluation and half stood it, as far as there are so many."
)


def save_adversarial(cells: Sequence[Cell], folder: Path, count: int, seed: int) -> None:
    """Save ``count`` samples of every row of the evaluation in ``folder``.

    Attacks run again, on the chosen samples alone. Ours make the images of the evaluation; a
    library attack draws other random numbers, so a sample's outcome may be another one than was
    counted, and ``samples.json`` has both. What was saved before is left as it is.

    Raises:
        RequestError: if the outcomes in ``folder`` are not those of the cells.
    """
    run = EvaluatedRun.read(folder)
    rows = {row.key: row for row in run.results.rows}
    todo = [
        (cell, attack, rows[cell.key(attack)], target)
        for cell in cells
        for attack in cell.attacks
        for target in [folder / FOLDER / _slug(rows[cell.key(attack)])]
        if not _is_saved(target, count)
    ]
    with Steps("saving adversarial images", len(todo), quiet=not todo) as progress:
        for cell, attack, row, target in todo:
            _save(cell, attack, row, run, target, count, seed)
            progress.advance()


def _slug(row: Row) -> str:
    """A folder name that tells models, sets and attacks apart, and says which they are."""
    words = re.sub(r"[^\w.-]+", "-", f"{row.dataset}-{row.condition}-{row.model}").strip("-.")
    return f"{words[:80]}-{row.key[:8]}"


def _is_saved(target: Path, count: int) -> bool:
    try:
        about = json.loads((target / ABOUT).read_text(encoding="utf-8"))
        return bool(about["count"] == count)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def choose(
    sample_ids: Sequence[str],
    clean: NDArray[np.bool_],
    robust: NDArray[np.bool_],
    count: int,
    key: str,
) -> list[str]:
    """``count`` of the samples that are right before an attack, half fallen and half standing.

    Args:
        sample_ids: N ids.
        clean, robust: (N,) whether each is right before the attack, and before and after.
        count: as many as there are, if so many; one side makes up for what the other lacks.
        key: of the random order.
    """

    def order(name: str) -> str:
        return hashlib.sha256(f"{key} {name}".encode()).hexdigest()

    ids = np.array(sample_ids, dtype=object)
    fell, stood = (sorted(ids[of], key=order) for of in (clean & ~robust, clean & robust))
    of_stood = min(len(stood), max(count // 2, count - len(fell)))
    return [*fell[: count - of_stood], *stood[:of_stood]]


def _save(
    cell: Cell, attack: Attack, row: Row, run: EvaluatedRun, target: Path, count: int, seed: int
) -> None:
    sample_ids, labels, before_it, after_it = run.predictions(row)
    clean = before_it == labels
    robust = clean & (after_it == labels)
    chosen = choose(sample_ids, clean, robust, count, f"{seed} {row.dataset}")
    counted = dict(zip(sample_ids, robust.tolist(), strict=True))
    items: list[Item] = []
    about: list[dict[str, Any]] = []
    for item, norms in _attacked(cell, attack, chosen):
        before, after = (view.predictions[cell.model.name] for view in item.views)
        number = f"{len(items):02}"
        items.append(item)
        about.append(
            {
                "sample_id": item.sample_id,
                "label": item.label,
                "clean_prediction": before.name,
                "clean_probability": before.probability,
                "adversarial_prediction": after.name,
                "adversarial_probability": after.probability,
                "outcome": "stood" if after.right else "fell",
                "counted": "stood" if counted[item.sample_id] else "fell",
                **norms,
                "pictures": [f"{number}-clean.png", f"{number}-adversarial.png"],
            }
        )
    whole: dict[str, Any] = {
        **{"model": row.model, "dataset": row.dataset, "attack": row.attack, "norm": row.norm},
        **{"eps": row.eps, "key": row.key, "count": count, "samples": about},
    }
    gallery = Gallery(row.condition, {cell.model.name: cell.model.method}, CHOSEN, items)
    with atomic_folder(target) as temporary:
        gallery.write(temporary / SAMPLES)
        for item, one in zip(items, about, strict=True):
            for view, name in zip(item.views, one["pictures"], strict=True):
                levels = np.rint(255 * view.pixels).astype(np.uint8).transpose(1, 2, 0)
                Image.fromarray(levels).save(temporary / name)
        (temporary / ABOUT).write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def _attacked(
    cell: Cell, attack: Attack, chosen: Sequence[str]
) -> Iterator[tuple[Item, dict[str, float]]]:
    """Each sample with its views, and the norms of its perturbation."""
    measurement, model = cell.measurement, cell.model.name
    names = measurement.classifier.class_names
    places = {name: at for at, name in enumerate(cell.images.sample_ids)}
    indices = [places[name] for name in chosen]
    for batch in measurement.batches(indices, measurement.batch_size):
        adversarial = attack(measurement.classifier, batch.images, batch.labels, batch.sample_ids)
        labels = batch.labels.tolist()
        said = [
            _said(measurement.classifier, images, labels) for images in (batch.images, adversarial)
        ]
        moved = (adversarial - batch.images).flatten(1)
        for at, sample_id in enumerate(batch.sample_ids):
            views = [
                View(against, images[at].float().cpu().numpy(), {model: predictions[at]})
                for against, images, predictions in zip(
                    ("", model), (batch.images, adversarial), said, strict=True
                )
            ]
            norms = {"linf": float(moved[at].abs().max()), "l2": float(moved[at].norm())}
            yield Item(cell.images.name, sample_id, names[labels[at]], views), norms


@torch.no_grad()
def _said(classifier: Any, images: torch.Tensor, labels: list[int]) -> list[Prediction]:
    probabilities, found = classifier(images).softmax(-1).max(-1)
    return [
        Prediction(classifier.class_names[place], probability, place == label)
        for place, probability, label in zip(
            found.tolist(), probabilities.tolist(), labels, strict=True
        )
    ]
