"""Every model on every data set, clean and under every attack: the ``evaluate`` of the package."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
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
from zsrobust.evaluation.checks.black_box import probe_cell
from zsrobust.evaluation.checks.diagnostics import diagnose, lengths_fit
from zsrobust.evaluation.checks.sanity import check_cells
from zsrobust.evaluation.checks.snapshot import snapshots
from zsrobust.evaluation.outcomes import table
from zsrobust.evaluation.results import BlackBoxProbe, Results, Row, failed
from zsrobust.evaluation.two_phase.run import Process, run_in_two_phases
from zsrobust.models.clip import CLIPModel
from zsrobust.models.folding import folded
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator, on_first
from zsrobust.utils.environment import environment
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import atomic_file
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
            probing = _Probing(config, models, device)
            _compute_chunks(cells, probing, accelerator)
            here = environment(device, accelerator.num_processes)
            empty = Results(_protocol(config, cells), here, [])
            results = on_first(accelerator, lambda: _compute(cells, empty, probing, folder))
        return on_first(accelerator, lambda: _finished(results, cells, config, folder))


def _compute_chunks(cells: list[Cell], probing: _Probing, accelerator: Accelerator) -> None:
    """Each of several processes computes its chunks; the files they leave are then put together."""
    rank, world_size = accelerator.process_index, accelerator.num_processes
    if world_size == 1:
        return
    mine = assign_chunks(cells, world_size)[rank]
    total = sum(len(at) * (1 + len(cell.attacks)) for cell, at in mine)
    with Steps(f"evaluating, 1 of {world_size} processes", total, quiet=rank > 0) as progress:
        for cell, at in mine:
            cell.compute(at, progress)
    accelerator.wait_for_everyone()
    process = Process(rank, world_size, accelerator.wait_for_everyone)
    run_in_two_phases(cells, probing.config, process)
    for cell in cells[rank::world_size]:
        probing.of(cell)
    accelerator.wait_for_everyone()


def assign_chunks(cells: Sequence[Cell], world_size: int) -> list[list[tuple[Cell, range]]]:
    """All chunks of all cells, by process, so that each has about as much work.

    The largest first, each to the process that has least; work is counted in samples and attacks.
    """
    assigned: list[list[tuple[Cell, range]]] = [[] for _ in range(world_size)]
    loads = [(0, rank) for rank in range(world_size)]
    pieces = [(len(at) * (1 + len(cell.attacks)), cell, at) for cell in cells for at in cell.chunks]
    for work, cell, at in sorted(pieces, key=lambda piece: -piece[0]):
        load, rank = heapq.heappop(loads)
        assigned[rank].append((cell, at))
        heapq.heappush(loads, (load + work, rank))
    return assigned


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


def _compute(cells: list[Cell], results: Results, probing: _Probing, folder: Path) -> Results:
    total = sum(len(cell.images) * (1 + len(cell.attacks)) for cell in cells)
    rows: dict[tuple[int, int], tuple[Row, pa.Table]] = {}
    with Steps("evaluating", total) as progress:
        for finding in failed(lengths_fit(results)):
            progress.say(f"warning: {finding.sentence}")
        for number, cell in enumerate(cells):
            clean = cell.clean(progress)
            zero = cell.measurement.zero_gradients(clean)
            found = [(one, cell.attacked(cell.on_all(one), progress)) for one in cell.attacks]
            for place, (attack, after) in enumerate(found):
                if attack != cell.on_all(attack):
                    continue  # Only its first part has run so far.
                # A part that was also run alone may have fallen upon more: the worst counts.
                parts = {part.name for part in getattr(attack, "parts", ())}
                for other, alone in found:
                    if other.name in parts and other.threat == attack.threat:
                        after = after.worst_with(alone)
                row = cell.row(attack, clean, after, zero)
                rows[number, place] = row, table(row, clean, after)
                progress.say(row.sentence())
    sampled = run_in_two_phases(cells, probing.config)
    for (number, place), part in sampled.items():
        cell = cells[number]
        clean = cell.clean()
        zero = cell.measurement.zero_gradients(clean)
        row = part.row(cell.row(cell.attacks[place], clean, part.after, zero))
        rows[number, place] = row, table(row, clean, part.after, part.draw)
        Steps("", 1).say(row.sentence())
    for cell in cells:
        if (probe := probing.of(cell)) is not None:
            results.probes.append(probe)
    results.rows.extend(row for _, (row, _) in sorted(rows.items()))
    tables = [outcomes for _, (_, outcomes) in sorted(rows.items())]
    with atomic_file(folder / "outcomes.parquet") as temporary:
        pq.write_table(pa.concat_tables(tables), temporary)
    return results


@dataclass(frozen=True)
class _Probing:
    """Black-box probes of cells, with images made on each model's original and undefended form.

    An original that is not evaluated as well is loaded where a probe asks for it.
    """

    config: EvaluateConfig
    models: list[CLIPModel]
    device: torch.device
    loaded: dict[tuple[str, str], CLIPModel] = field(default_factory=dict)

    def of(self, cell: Cell) -> BlackBoxProbe | None:
        """The probe of one model on one data set, None where there is nothing to probe."""
        model, surrogates = cell.model, {}
        if model.defence:
            model = model.defence.undefended
            surrogates[model.name] = partial(self._classifier, lambda: model, cell)
        if model.method != "original":
            surrogates[model.source] = partial(
                self._classifier, lambda: self._original(model), cell
            )
        return probe_cell(cell, surrogates, self.config.seed)

    def _classifier(self, origin: Callable[[], CLIPModel], cell: Cell) -> ZeroShotClassifier:
        names, templates = cell.images.class_names, cell.measurement.classifier.templates
        return origin().classifier(names, templates).eval().to(self.device)

    def _original(self, model: CLIPModel) -> CLIPModel:
        for known in self.models:
            if known.source == model.source and _same_protocol(known, model):
                return known
        key = model.source, model.preprocessing.protocol
        if key not in self.loaded:
            self.loaded[key] = load(model.source, preprocessing=key[1], device=self.device)
        return self.loaded[key]


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
            if known.source == model.source and _same_protocol(known, original):
                break
        else:
            if original.name in {**models, **originals}:
                original.name = f"{model.source} (as {model.name})"
            originals[original.name] = original
    return [*originals.values(), *models.values()]


def _same_protocol(known: CLIPModel, original: CLIPModel) -> bool:
    """Whether ``known`` is that original, unchanged, and sees images and names as it does."""
    return (
        known.method == "original"
        and all(
            getattr(known, key) == getattr(original, key)
            for key in ("loader_resize", "default_templates")
        )
        and known.preprocessing.protocol == original.preprocessing.protocol
    )


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
