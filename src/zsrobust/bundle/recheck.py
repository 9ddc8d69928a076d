"""Ask the model itself: its answers on a few samples, against the outcomes of a bundle."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.bundle.verify import Verified
from zsrobust.config.schema import EvaluateConfig, PGDOptions
from zsrobust.data.image_set import ImageSet
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.evaluator import cells_of
from zsrobust.evaluation.inputs import Given
from zsrobust.models.weights import fingerprint
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

TOLERANCE = 0.01
"""Of a margin: in logits, and as a part of it. Devices and versions differ by less."""
CHANCE = 0.02
"""Share of samples that an attack may decide otherwise on another device; or one sample."""


@dataclass(frozen=True)
class Rechecked:
    """What a model's own answers say of a bundle, in sentences."""

    checked: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)

    def add(self, what: str, differs: Any, most: int) -> None:
        """Note on how many samples (N,) the model differs; up to ``most`` it may."""
        count, n = int(differs.sum()), len(differs)
        if count > most:
            self.contradictions.append(f"{what}: the model gives others on {count} of {n} samples")
        else:
            self.checked.append(f"{what}: the model gives the same on {n - count} of {n} samples")


def recheck(found: Verified, config: EvaluateConfig, n: int) -> Rechecked:
    """Predict and attack ``n`` random samples of each data set, and compare.

    Clean images are predicted; attacks on each sample by itself, such as PGD, are run again. The
    sender cannot know which samples are asked about.

    Args:
        found: of the bundle.
        config: the model, with the weights that the bundle names, the data sets, and the device;
            all else is as in the bundle.
        n: samples of each data set.

    Raises:
        RequestError: if the bundle has no such data set, or class names or prompts are others.
        RunError: if an image cannot be read.
    """
    said = Rechecked()
    sets = [_drawn(found, spec, n, said) for spec in expand(config.data)]
    sets = [images for images in sets if len(images)]
    if not sets:
        return said
    given = Given(data={images.name: images for images in sets}, temporary=True)
    asked = _request(found, config, sets)
    with tempfile.TemporaryDirectory(prefix="zsrobust-") as folder, full_precision():
        _, cells = cells_of(asked, given, Path(folder), make_accelerator(config.device))
        for cell in cells:
            _compare(found, cell, said)
    return said


def _drawn(found: Verified, spec: str, n: int, said: Rechecked) -> ImageSet:
    """Random samples among those of the bundle."""
    images = opening(spec, "test")()
    rows = [row for row in found.run.results.rows if row.dataset == images.name]
    if not rows:
        there = ", ".join(found.run.results.protocol["data"])
        raise RequestError(f"the bundle is not of {images.name}: name one of {there}")
    places = {sample: place for place, sample in enumerate(images.sample_ids)}
    ids = found.run.columns(rows[0])["sample_id"]
    if absent := [sample for sample in ids if sample not in places]:
        said.contradictions.append(
            f"{len(absent)} samples of {images.name} are not in {spec}, first {absent[0]!r}"
        )
    kept = [places[sample] for sample in ids if sample in places]
    # The system's randomness: a seed that is known before is no check.
    drawn = images.subset(sorted(random.SystemRandom().sample(kept, min(n, len(kept)))))
    return replace(drawn, origin="", notes=())  # It is no published set with images missing.


def _request(found: Verified, config: EvaluateConfig, sets: Sequence[ImageSet]) -> EvaluateConfig:
    """The evaluation of the bundle, of one model and of attacks that can be made again."""
    request: dict[str, Any] = found.archive.manifest["request"]
    rows = found.run.results.rows
    same = ("loader_resize", "preprocessing", "templates", "on_unreadable")
    return EvaluateConfig(
        model=config.model,
        data=[images.name for images in sets],
        # One has to be named, and none is run that the bundle does not have.
        attack=[one for one in dict.fromkeys(row.attack for row in rows) if _is_simple(one)]
        or ["pgd-1"],
        eps=[Eps.of_attack(eps) for eps in dict.fromkeys(row.eps for row in rows)],
        norm=rows[0].norm,  # type: ignore[arg-type]
        pgd=PGDOptions(**request.get("pgd", {})),
        seed=found.run.results.protocol["seed"],
        baseline=False,
        device=config.device,
        **{key: request[key] for key in same if key in request},
    )


def _is_simple(attack: str) -> bool:
    """Whether an attack is built in, and treats every sample by itself."""
    try:
        return make_attack(attack, ThreatModel()).chunk is None
    except RequestError:
        return False


def _compare(found: Verified, cell: Cell, said: Rechecked) -> None:
    name, weights = cell.images.name, fingerprint(cell.model.encoder)
    protocol = found.run.results.protocol
    same = [one for one, about in protocol["models"].items() if about["weights"] == weights]
    rows = [r for r in found.run.results.rows if r.dataset == name and r.model in same]
    if not rows:
        there = ", ".join(f"{one} {about['weights']}" for one, about in protocol["models"].items())
        said.contradictions.append(
            f"{cell.model.name} has the weights {weights}, and the bundle's models: {there}"
        )
        return
    measurement, everything = cell.measurement, list(range(len(cell.images)))
    templates = protocol["data"][name][f"under {rows[0].model}"]["templates"]
    if (list(cell.images.class_names), list(measurement.classifier.templates)) != (
        protocol["data"][name]["class_names"],
        templates,
    ):
        raise RequestError(
            f"{name} has other class names or prompts than in the bundle: give --data as its "
            "request does"
        )
    clean = measurement.clean(everything)
    for row in rows:
        kept = found.run.columns(row)
        places = {sample: place for place, sample in enumerate(kept["sample_id"])}
        order = [places[sample] for sample in clean.sample_ids]
        label, margin, fell_to = (
            np.array(kept[key])[order] for key in ("label", "clean_margin", "fell_to")
        )
        if row == next(one for one in rows if one.model == row.model):
            near = np.isclose(margin, clean.margins, rtol=TOLERANCE, atol=TOLERANCE)
            what = f"{row.model} on {name}: labels, and logits of clean images"
            said.add(what, (label != clean.labels) | ~near, most=0)
        for attack in cell.attacks:
            if (attack.name, attack.threat.eps) == (row.attack, row.eps) and attack.chunk is None:
                after = measurement.attacked(attack, clean, everything)
                what = f"{row.model} on {name}, {row.condition}: whether samples stand"
                differs = (fell_to == "") != np.array(after.right)
                said.add(what, differs, most=max(1, int(CHANCE * len(everything))))
