"""What a fine-tuning would do."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from torch import Tensor

from zsrobust.config.run_folder import check_out
from zsrobust.config.schema import FinetuneConfig, to_plain
from zsrobust.training.checkpoint import checkpoints, gather
from zsrobust.training.compiling import uncompiled
from zsrobust.training.cost import passes_per_step
from zsrobust.training.finetune import check_processes, trainer_of
from zsrobust.training.held_out import evaluate_held_out
from zsrobust.training.trainer import Trainer
from zsrobust.utils.devices import full_precision
from zsrobust.utils.distributed import make_accelerator
from zsrobust.utils.dry_run import DryRun, peak_memory, seconds_of

STEPS = 4
"""Steps that are timed; the first is left out."""


def dry_run_finetuning(config: FinetuneConfig) -> DryRun:
    """What ``config`` asks for, timed on a few steps; the folder is left alone.

    Raises:
        RequestError: as the fine-tuning would.
        RunError: if the first loss is not finite.
    """
    accelerator = make_accelerator(config.device)
    check_processes(config, accelerator)
    folder = check_out(config)
    trainer = trainer_of(config, folder, accelerator)
    done = 0 if config.overwrite else _steps_done(folder)
    feed, held_out = trainer.feed, len(trainer.feed.held_out)
    with full_precision():
        a_step = _seconds_of_step(trainer)
        n, clean_acc, seconds = _evaluated(trainer) if held_out else (1, 0.0, 0.0)
    steps = trainer.total_steps - done
    every = config.evaluate_every or feed.per_epoch
    evaluations = (done == 0) + -(-trainer.total_steps // every) - done // every
    evaluations = evaluations if steps else 0
    attack = trainer.selection_attack
    images = sum(map(feed.images_of, range(done, trainer.total_steps)))
    passes = float(images * passes_per_step(config))
    passes += evaluations * held_out * (1 + clean_acc * (attack.passes + 1))
    tensors = gather(trainer.encoder.checkpointed, trainer.step.optimizer, keep=True)
    checkpoint = sum(_bytes(values) for values in tensors.values())
    model = _bytes(trainer.model.encoder.state_dict())
    expected = images / feed.batch_size * a_step + evaluations * seconds * held_out / n
    return DryRun(
        lines=[*_lines(trainer), f"out: {folder}, {_progress(trainer, folder, done)}"],
        passes=passes,
        seconds=expected,
        most_seconds=expected,
        memory=peak_memory(accelerator.device),
        disk=config.keep_checkpoints * checkpoint + model,
    )


def _seconds_of_step(trainer: Trainer) -> float:
    """Of a step that changes no weight."""
    for group in trainer.step.optimizer.param_groups:
        group["lr"] = 0.0
    count = min(STEPS, trainer.total_steps)
    batches = trainer.feed.training(0, count)

    def step() -> None:
        epoch, parts = next(batches)
        trainer.step(parts, epoch=epoch, global_batch=trainer.feed.batch_size)

    seconds = [seconds_of(trainer.accelerator.device, step) for _ in range(count)]
    timed = seconds[1:] or seconds
    return sum(timed) / len(timed)


def _evaluated(trainer: Trainer) -> tuple[int, float, float]:
    """Held-out images of one batch, the clean accuracy on them, and the seconds they took."""
    found = []

    def evaluate() -> None:
        batches = islice(trainer.feed.selection(), 1)
        attack, accelerator = trainer.selection_attack, trainer.accelerator
        found.append(evaluate_held_out(trainer.classifier, batches, attack, accelerator))

    trainer.encoder.gather()
    with uncompiled(trainer.config.compile):
        seconds = seconds_of(trainer.accelerator.device, evaluate)
    return found[0].n, found[0].clean_acc, seconds


def _lines(trainer: Trainer) -> Iterator[str]:
    config, feed = trainer.config, trainer.feed
    trained, parameters = trainer.encoder.parameter_counts
    yield f"model: {config.model}, trains {trained:,} of {parameters:,} parameters"
    yield (
        f"data: {feed.train_set.name}/{feed.train_set.split}, {len(feed.train_set):,} images, "
        f"{len(feed.held_out):,} more held out, {len(feed.train_set.class_names)} classes at "
        f"{feed.resolution} px"
    )
    yield f"method: {trainer.step.objective.label}, {passes_per_step(config)} passes an image"
    for key in ("attack", "optimizer"):
        values = ", ".join(f"{k} {v}" for k, v in to_plain(getattr(config, key)).items())
        yield f"{key}: {values}"
    yield (
        f"steps: {trainer.total_steps:,} of {feed.batch_size} images on "
        f"{trainer.accelerator.device}, {config.precision}"
    )


def _progress(trainer: Trainer, folder: Path, done: int) -> str:
    if done == trainer.total_steps:
        return "finished"
    return f"goes on from step {done}" if done else "new"


def _steps_done(folder: Path) -> int:
    found = checkpoints(folder / "checkpoints") if folder.is_dir() else []
    return int(found[-1].name.removeprefix("step-")) if found else 0


def _bytes(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
