"""Every model on every data set, clean and under every attack: the ``evaluate`` of the package."""

from __future__ import annotations

import shutil
import tempfile
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
from zsrobust.data.published.prompts import prompts_of
from zsrobust.evaluation.adversarial import save_adversarial
from zsrobust.evaluation.attacks import RequestedAttacks
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.checks.sanity import check_cells
from zsrobust.evaluation.checks.snapshot import snapshots
from zsrobust.evaluation.compute import Probing, compute_chunks, compute_rows
from zsrobust.evaluation.cost import bytes_of
from zsrobust.evaluation.inputs import Given, expanded, models_of, sets_of
from zsrobust.evaluation.measurement import Measurement
from zsrobust.evaluation.results import PROJECTED, Finding, Results
from zsrobust.models.clip import CLIPModel
from zsrobust.models.folding import folded
from zsrobust.models.weights import fingerprint
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator, on_first
from zsrobust.utils.environment import environment
from zsrobust.utils.errors import RequestError, ZSRobustError
from zsrobust.utils.files import require_room
from zsrobust.utils.own_code import said
from zsrobust.utils.progress import Steps
from zsrobust.utils.units import format_radius
from zsrobust.utils.watchdog import watched


def evaluate(config: EvaluateConfig, given: Given | None = None) -> Results:
    """Evaluate as ``config`` says; what the run folder already holds is not computed again.

    ``given`` holds objects that some of its names stand for.

    Raises:
        RequestError: before any long work, if something asked for is wrong or missing.
        RunError: if an image can no longer be read, or an attack meets a NaN.
    """
    accelerator = make_accelerator(config.device)
    given = given or Given()
    with watched(accelerator.process_index, accelerator.num_processes), ExitStack() as stack:
        folder = None
        if given.temporary and config.out is None:
            folder = on_first(accelerator, lambda: Path(tempfile.mkdtemp(prefix="zsrobust-")))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return _evaluate(config, given, folder, accelerator)


def _evaluate(
    config: EvaluateConfig, given: Given, folder: Path | None, accelerator: Accelerator
) -> Results:
    folder = folder or on_first(accelerator, lambda: find_run(config))
    models, cells = cells_of(config, given, folder, accelerator)
    if not (folder / "results.json").exists():
        require_room(folder, bytes_of(cells, config), "the evaluation")
        for cell in cells:
            if cell.model.code:
                _require_runs(cell.model, cell.measurement)
    device = accelerator.device
    with ExitStack() as stack:
        on_first(accelerator, lambda: stack.enter_context(claimed(folder, config)))
        stack.enter_context(full_precision())
        classifiers = [cell.measurement.classifier for cell in cells]
        stack.enter_context(snapshots(classifiers, fork=accelerator.is_main_process))
        finished = folder / "results.json"
        results = on_first(accelerator, lambda: answered(finished, cells))
        if results is None:
            probing = Probing(config, models, device)
            compute_chunks(cells, probing, accelerator)
            here = environment(device, accelerator.num_processes)
            empty = Results(_protocol(config, cells), here, [])
            results = on_first(accelerator, lambda: compute_rows(cells, empty, probing, folder))
        return on_first(accelerator, lambda: _finished(results, cells, config, folder))


def cells_of(
    config: EvaluateConfig, given: Given, folder: Path, accelerator: Accelerator
) -> tuple[list[CLIPModel], list[Cell]]:
    """The models, and every model on every data set; nothing is written.

    Raises:
        RequestError: if something asked for is wrong or missing.
    """
    device = accelerator.device
    attacks = RequestedAttacks(config, device, given.attacks)
    specs = on_first(accelerator, lambda: expanded(config.data, given))
    models = models_of(config, given, device)
    # Models with one text side read names the same way; the one asked for is used as its original.
    readers = {
        (model.text.fingerprint or model.name, model.default_templates): model
        for model in (*attacks.surrogates.values(), *models)
    }
    sets = on_first(accelerator, lambda: sets_of(specs, config, given, list(readers.values())))
    cells = [
        _cell(model, tower, images, config, attacks, device, folder)
        for model, tower in [(model, folded(model.encoder)) for model in models]
        for images in sets
    ]
    return models, cells


def _finished(results: Results, cells: list[Cell], config: EvaluateConfig, folder: Path) -> Results:
    """The results with what the checks find, on disk before the checks that take long begin."""
    outside = [one for one in results.findings if one.check == PROJECTED]
    if not outside and (outside := _projected(cells)):
        for one in outside:
            Steps("", 1).say(one.sentence)
    results = replace(results, findings=[*diagnose(results), *outside])
    results.write(folder / "results.json")
    if config.sanity and not results.sanity:
        results = replace(results, sanity=check_cells(cells, config))
        results.write(folder / "results.json")
    shutil.rmtree(folder / "parts", ignore_errors=True)
    if config.save_adversarial:
        save_adversarial(cells, folder, config.save_adversarial, config.seed)
    return results


def _projected(cells: list[Cell]) -> list[Finding]:
    """A finding for each attack of the user's own that left its radius, which changes no number."""
    farthest: dict[tuple[str, str, float], float] = {}
    for cell in cells:
        for attack in cell.attacks:
            for name, length in cell.moved_outside(attack).items():
                at = name, attack.threat.norm, float(attack.threat.eps)
                farthest[at] = max(length, farthest.get(at, 0.0))
    return [
        Finding(
            PROJECTED,
            True,
            f"{name} moved {'pixels' if norm == 'linf' else 'images'} by up to "
            f"{format_radius(norm, round(255 * length) / 255 if norm == 'linf' else length)}; "
            f"projected to {format_radius(norm, eps)}",
            {"moved": length, "eps": eps},
            "Accuracies are those of the projected images. An attack that is made for the radius, "
            "and projects after every step, mostly finds more.",
        )
        for (name, norm, eps), length in farthest.items()
    ]


def answered(finished: Path, cells: list[Cell]) -> Results | None:
    """What an earlier call found, if it is of the same models, data and attacks."""
    outcomes = finished.parent / "outcomes.parquet"
    if not (finished.exists() and outcomes.exists()):
        return None
    results = Results.read(finished)
    asked = {cell.key(attack) for cell in cells for attack in cell.attacks}
    stored = set(pq.read_table(outcomes, columns=["key"])["key"].unique().to_pylist())
    return results if asked == stored == {row.key for row in results.rows} else None


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
    classifier = model.classifier(
        images.class_names, prompts_of(images, config.templates), doubts.append
    )
    if tower is not model.encoder:
        classifier.encoder = classifier.undefended.encoder = tower
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
    defined, notes = attacks.on(images, resolution, measurement.classifier)
    two_phase = None
    if config.half_width is not None:
        two_phase = {
            key: getattr(config, key) for key in ("half_width", "half_width_of", "interval", "seed")
        }
    draws = config.draws if measurement.classifier.randomised else 0
    parts = folder / "parts"
    return Cell(model, images, measurement, parts, defined, notes, doubts, two_phase, draws)


def _require_runs(model: CLIPModel, measurement: Measurement) -> None:
    """Refuse a module of the user's own that fails on images of the size that it will get."""
    resolution = measurement.resolution
    images = torch.zeros(2, 3, resolution, resolution, device=measurement.device)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            measurement.classifier(images)
    except ZSRobustError:
        raise
    except Exception as error:
        side = model.preprocessing.image_size
        what = "its image_size" if side else "the data's resolution"
        side = side or resolution
        raise RequestError(
            f"{model.name} fails on images of {side} by {side} pixels, {what}: {said(error)}"
        ) from error


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
            **({"start": start} if (start := cell.model.record.get("start")) else {}),
            **({"unfinished": cell.model.unfinished} if cell.model.unfinished else {}),
            **({"code": dict(cell.model.code)} if cell.model.code else {}),
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
                "attacks": [],
                "attack_notes": {},
            },
        )
        about = data[cell.images.name]
        # A test-time defence may meet attacks that a model without one does not.
        described = [attack.describe() for attack in cell.attacks]
        about["attacks"] += [one for one in described if one not in about["attacks"]]
        about["attack_notes"] = {**cell.notes, **about["attack_notes"]}
        about[f"under {cell.model.name}"] = {
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
        **({"draws": draws} if (draws := max(cell.draws for cell in cells)) else {}),
        # As on the set of most classes; a row's note says where fewer classes changed one.
        "attacks": data[max(cells, key=_classes).images.name]["attacks"],
        "models": models,
        "data": data,
    }


def _classes(cell: Cell) -> int:
    return len(cell.images.class_names)
