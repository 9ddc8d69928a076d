"""What an evaluation would do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from zsrobust.attacks import Attack
from zsrobust.attacks.frozen import frozen
from zsrobust.attacks.losses import cross_entropy
from zsrobust.attacks.pgd import input_gradient
from zsrobust.attacks.transfer import Transfer
from zsrobust.config.run_folder import check_out
from zsrobust.config.schema import EvaluateConfig
from zsrobust.evaluation.cell import Cell
from zsrobust.evaluation.checks.black_box import probe_passes
from zsrobust.evaluation.cost import bytes_of
from zsrobust.evaluation.evaluator import answered, cells_of
from zsrobust.evaluation.forecast import CLEAN, pass_cost
from zsrobust.evaluation.inputs import Given
from zsrobust.evaluation.progress import EvaluationProgress
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.dry_run import DryRun, peak_memory, seconds_of
from zsrobust.utils.units import format_radius


def dry_run_evaluation(config: EvaluateConfig) -> DryRun:
    """What ``config`` asks for, timed on one batch of every model; the folder is left alone.

    Raises:
        RequestError: as the evaluation would.
    """
    accelerator = make_accelerator(config.device)
    folder = check_out(config)
    models, cells = cells_of(config, Given(), folder, accelerator)
    if config.overwrite:
        cells = [replace(cell, parts=folder / "parts" / "none") for cell in cells]
    finished = not config.overwrite and answered(folder / "results.json", cells) is not None
    progress = EvaluationProgress()
    forecast = progress.forecast
    classifiers = {cell.model.name: cell.measurement.classifier for cell in cells}
    draws = {cell.model.name: cell.draws for cell in cells}
    if not finished:
        for number, cell in enumerate(cells):
            cell.expect(progress, cell.chunks)
            forecast.checks[number] = cell.model.name, probe_passes(len(cell.images))
    with full_precision():
        for model in models:
            _time(next(cell for cell in cells if cell.model is model), progress)
    passes = sum(
        count * _passes(part, classifiers[work.model], draws[work.model])
        for work in forecast.works
        for part, count in zip(work.parts or (None,), work.total, strict=False)
    )
    passes += sum(
        count * classifiers[model].encoder_passes for model, count in forecast.checks.values()
    )
    seconds = forecast.left() or 0.0
    forecast.assumed = 1.0
    return DryRun(
        lines=[
            *_lines(config, cells),
            f"out: {folder}, {'finished' if finished else _done(cells)}",
        ],
        passes=passes,
        seconds=seconds,
        most_seconds=forecast.left() or 0.0,
        memory=peak_memory(accelerator.device),
        disk=bytes_of(cells, config),
    )


def _passes(part: Attack | None, classifier: ZeroShotClassifier, draws: int) -> int:
    """Through the image encoder, of one sample that meets ``part``, its result's included.

    By ``draws`` of either set is it judged, besides its own.
    """
    passes = (1 + 2 * draws) * classifier.encoder_passes
    asked = classifier
    if isinstance(part, Transfer):
        asked, part = part.surrogate, part.attack
    if part is not None:
        passes += part.passes * asked.encoder_passes
    return passes


def _time(cell: Cell, progress: EvaluationProgress) -> None:
    """Let a batch through the model, and its gradient."""
    measurement = cell.measurement
    n = min(measurement.batch_size, len(cell.images))
    (batch,) = measurement.batches(list(range(n)), n)
    classifier, model = measurement.classifier, cell.model.name
    with frozen(classifier):
        right = int((classifier(batch.images).argmax(-1) == batch.labels).sum())

        def gradient() -> None:
            input_gradient(lambda x: cross_entropy(classifier(x), batch.labels), batch.images)

        gradient()
        forward = seconds_of(measurement.device, lambda: classifier(batch.images))
        both = seconds_of(measurement.device, gradient)
    progress.forecast.time(model, CLEAN, forward, n * pass_cost(None))
    progress.forecast.time(model, ("gradient", 0.0), both, 2.0 * n)
    work = cell.work_in(progress, None)
    if work is not None:
        progress.forecast.count(work, None, n, right, 0.0)


def _lines(config: EvaluateConfig, cells: list[Cell]) -> Iterator[str]:
    for model in dict.fromkeys(cell.model.name for cell in cells):
        found = next(cell.model for cell in cells if cell.model.name == model)
        yield f"model: {model}, {found.method}"
    sets = {cell.images.name: cell for cell in cells}
    for cell in sets.values():
        yield (
            f"data: {cell.images.name}/{cell.images.split}, n {len(cell.images):,}, "
            f"{len(cell.images.class_names)} classes at {cell.measurement.resolution} px"
        )
    most = max(cells, key=lambda cell: len(cell.images.class_names))
    for attack in most.attacks:
        title = f"{attack.name} {format_radius(attack.threat.norm, attack.threat.eps)}"
        yield f"attack: {title}, {attack.passes:,} passes of a sample that stands"
        for part in getattr(attack, "parts", (attack,)):
            yield f"  {part.name}: {_in_words(part.describe(), part.threat.norm)}"
    if config.half_width is not None:
        yield f"in two phases, to ±{config.half_width:g} points: on a part of the samples"


def _in_words(about: Mapping[str, object], norm: str) -> str:
    """``steps 10, step_size 0.25/255``; what is itself described stands behind its name."""
    parts = []
    for key, value in about.items():
        if value is None or key in ("name", "threat"):
            continue
        if isinstance(value, dict):
            value = f"{value.get('name', '')} ({_in_words(value, norm)})".lstrip()
        elif key == "step_size":
            value = format_radius(norm, float(str(value)))
        parts.append(f"{key} {value}")
    return ", ".join(parts)


def _done(cells: list[Cell]) -> str:
    chunks = [
        (cell, attack, at)
        for cell in cells
        for attack in (None, *map(cell.on_all, cell.attacks))
        for at in cell.chunks
    ]
    done = sum(cell.holds(attack, at) for cell, attack, at in chunks)
    return f"{done} of {len(chunks)} parts of at most 100 samples are computed" if done else "new"
