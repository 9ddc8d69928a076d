"""Every model on every data set, clean and under every attack: the ``evaluate`` of the package."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from accelerate import Accelerator
from torch import nn

from zsrobust.config.run_folder import claimed, find_run
from zsrobust.config.schema import EvaluateConfig
from zsrobust.data.image_set import ImageSet
from zsrobust.data.loading import attack_resolution
from zsrobust.data.registry import opening
from zsrobust.data.suites import expand
from zsrobust.data.verify import readable, say_notes
from zsrobust.evaluation.attacks import RequestedAttacks
from zsrobust.evaluation.cell import Cell, Measurement
from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.checks.sanity import check_cells
from zsrobust.evaluation.checks.snapshot import snapshots
from zsrobust.evaluation.compute import Probing, compute_chunks, compute_rows, same_protocol
from zsrobust.evaluation.results import Results
from zsrobust.models.clip import CLIPModel
from zsrobust.models.folding import folded
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator, on_first
from zsrobust.utils.environment import environment
from zsrobust.utils.errors import RequestError
from zsrobust.utils.progress import Steps
from zsrobust.utils.watchdog import watched


def evaluate(config: EvaluateConfig) -> Results:
    """Evaluate as ``config`` says; what the run folder already holds is not computed again.

    Raises:
        RequestError: before any long work, if something asked for is wrong or missing.
        RunError: if an image can no longer be read, or an attack meets a NaN.
    """
    accelerator = make_accelerator(config.device)
    with watched(accelerator.process_index, accelerator.num_processes):
        return _evaluate(config, accelerator)


def _evaluate(config: EvaluateConfig, accelerator: Accelerator) -> Results:
    device = accelerator.device
    attacks = RequestedAttacks(config, device)
    folder = on_first(accelerator, lambda: find_run(config))
    specs = on_first(accelerator, lambda: expand(config.data))
    models = _models(config, device)
    # Models with one text side read names the same way; the one asked for is used as its original.
    readers = {
        (model.text.fingerprint, model.default_templates): model
        for model in (*attacks.surrogates.values(), *models)
    }
    sets = on_first(accelerator, lambda: _sets(specs, config, list(readers.values())))
    cells = [
        _cell(model, tower, images, config, attacks, device, folder)
        for model, tower in [(model, folded(model.encoder)) for model in models]
        for images in sets
    ]
    with ExitStack() as stack:
        on_first(accelerator, lambda: stack.enter_context(claimed(folder, config)))
        stack.enter_context(full_precision())
        classifiers = [cell.measurement.classifier for cell in cells]
        stack.enter_context(snapshots(classifiers, fork=accelerator.is_main_process))
        finished = folder / "results.json"
        results = on_first(accelerator, lambda: _answered(finished, cells))
        if results is None:
            probing = Probing(config, models, device)
            compute_chunks(cells, probing, accelerator)
            here = environment(device, accelerator.num_processes)
            empty = Results(_protocol(config, cells), here, [])
            results = on_first(accelerator, lambda: compute_rows(cells, empty, probing, folder))
        return on_first(accelerator, lambda: _finished(results, cells, config, folder))


def _finished(results: Results, cells: list[Cell], config: EvaluateConfig, folder: Path) -> Results:
    """The results with what the checks find, on disk before the checks that take long begin."""
    results = replace(results, findings=diagnose(results))
    results.write(folder / "results.json")
    if config.sanity and not results.sanity:
        results = replace(results, sanity=check_cells(cells, config))
        results.write(folder / "results.json")
    shutil.rmtree(folder / "parts", ignore_errors=True)
    return results


def _answered(finished: Path, cells: list[Cell]) -> Results | None:
    """What an earlier call found, if it is of the same models, data and attacks."""
    outcomes = finished.parent / "outcomes.parquet"
    if not (finished.exists() and outcomes.exists()):
        return None
    results = Results.read(finished)
    asked = {cell.key(attack) for cell in cells for attack in cell.attacks}
    stored = set(pq.read_table(outcomes, columns=["key"])["key"].unique().to_pylist())
    return results if asked == stored == {row.key for row in results.rows} else None


def _models(config: EvaluateConfig, device: torch.device) -> list[CLIPModel]:
    """The models asked for, after the undefended original of each one that was fine-tuned.

    An original sees pixels and prompts as the fine-tuned model does; under two protocols it is two
    classifiers. The same model without its test-time defence comes before one that has one.
    """
    asked = [
        replace(load(name, preprocessing=config.preprocessing, device=device), name=name)
        for name in config.model
    ]
    if config.baseline:
        undefended = [model.defence.undefended for model in asked if model.defence]
        asked = [*(model for model in undefended if model.name not in config.model), *asked]
    models = {model.name: model for model in asked}
    originals: dict[str, CLIPModel] = {}
    for model in asked if config.baseline else []:
        if model.defence or model.method == "original":
            continue
        protocol = model.preprocessing.protocol
        original = replace(
            load(model.source, preprocessing=protocol, device=device),
            loader_resize=model.loader_resize,
            default_templates=model.default_templates,
        )
        for known in (*originals.values(), *asked):
            if known.source == model.source and same_protocol(known, original):
                break
        else:
            if original.name in {**models, **originals}:
                original.name = f"{model.source} (as {model.name})"
            originals[original.name] = original
    return [*originals.values(), *models.values()]


def _sets(specs: list[str], config: EvaluateConfig, models: Sequence[CLIPModel]) -> list[ImageSet]:
    opened: dict[str, ImageSet] = {}
    # All are opened before any is read through, so that what is missing is told at once.
    for spec in specs:
        images = opening(spec, "test")()
        if images.name in opened:
            raise RequestError(
                f"two data sets are called {images.name}: give one another name, as in "
                f"{spec},name=OTHER"
            )
        opened[images.name] = images
        say_notes(images)
    say = Steps("", 1).say
    for model in models:
        for images in opened.values():
            model.check_classes(
                images.class_names,
                _templates(config, images),
                images.name,
                lambda doubt: say(f"warning: {doubt}"),
            )
    return [
        readable(images, config.on_unreadable, samples=config.samples, seed=config.seed)
        for images in opened.values()
    ]


def _templates(config: EvaluateConfig, images: ImageSet) -> Sequence[str] | None:
    return config.templates or images.templates or None


def _cell(
    model: CLIPModel,
    tower: nn.Module,
    images: ImageSet,
    config: EvaluateConfig,
    attacks: RequestedAttacks,
    device: torch.device,
    folder: Path,
) -> Cell:
    doubts: list[str] = []
    classifier = model.classifier(images.class_names, _templates(config, images), doubts.append)
    classifier.encoder = tower
    resolution = attack_resolution(images, model.preprocessing.image_size)
    measurement = Measurement(
        classifier=classifier.eval().to(device),
        images=images,
        batch_size=config.batch_size,
        resize=config.loader_resize or model.loader_resize,
        resolution=resolution,
        workers=config.workers,
        device=device,
    )
    defined, notes = attacks.on(images, resolution)
    two_phase = None
    if config.half_width is not None:
        two_phase = {
            key: getattr(config, key) for key in ("half_width", "half_width_of", "interval", "seed")
        }
    return Cell(model, images, measurement, folder / "parts", defined, notes, doubts, two_phase)


def _protocol(config: EvaluateConfig, cells: list[Cell]) -> dict[str, Any]:
    """Everything that changes a number and is not in a row."""
    models: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for cell in cells:
        classifier = cell.measurement.classifier
        models[cell.model.name] = {
            "source": cell.model.source,
            "method": cell.model.method,
            "weights": fingerprint(cell.model.encoder),
            "logit_scale": classifier.logit_scale,
            "preprocessing": cell.model.preprocessing.describe(),
            "seen": sorted(cell.model.seen),
            "recipe": cell.model.recipe,
            **({"unfinished": cell.model.unfinished} if cell.model.unfinished else {}),
            **classifier.further_settings(),
        }
        data.setdefault(
            cell.images.name,
            {
                "split": cell.images.split,
                "n": len(cell.images),
                "skipped": cell.images.skipped,
                "notes": list(cell.images.notes),
                "origin": cell.images.origin,
                "class_names": list(cell.images.class_names),
                "attacks": [attack.describe() for attack in cell.attacks],
                "attack_notes": cell.notes,
            },
        )
        data[cell.images.name][f"under {cell.model.name}"] = {
            "attack_resolution": cell.measurement.resolution,
            "loader_resize": (
                "none: stored pixels"
                if cell.measurement.resolution == cell.images.native_size
                else cell.measurement.resize
            ),
            "templates": list(classifier.templates),
            "class_name_warnings": cell.doubts,
        }
    return {
        "robust": "right on the clean image and on the adversarial one; others are not attacked",
        "interval": "95 %: Wilson a data set, MOVER an average",
        "precision": "fp32",
        "seed": config.seed,
        "samples": config.samples,
        "two_phase": cells[0].two_phase,
        # As on the set of most classes; a row's note says where fewer classes changed one.
        "attacks": [attack.describe() for attack in max(cells, key=_classes).attacks],
        "models": models,
        "data": data,
    }


def _classes(cell: Cell) -> int:
    return len(cell.images.class_names)
