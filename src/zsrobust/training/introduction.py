"""The lines that a fine-tuning begins with."""

from __future__ import annotations

from zsrobust.config.schema import FinetuneConfig
from zsrobust.models.clip import CLIPModel
from zsrobust.training.feed import Feed
from zsrobust.training.step import TrainingStep

FEW_HELD_OUT = 50
"""Below this the 95 % interval of an accuracy of one half is 27 points wide or more."""


def introduction(
    config: FinetuneConfig,
    model: CLIPModel,
    feed: Feed,
    step: TrainingStep,
    *,
    done: int,
    total_steps: int,
    warmup_steps: int,
) -> list[str]:
    """What is trained on what and how, and a warning for each setting that was changed."""
    settings = config.optimizer
    trained, parameters = step.encoder.parameter_counts
    lines = [
        f"{step.objective.label} on {model.name}: {len(feed.train_set)} images of "
        f"{feed.train_set.name}/{feed.train_set.split} at {feed.resolution} px, "
        f"{len(feed.held_out)} more held out, {len(feed.train_set.class_names)} classes, "
        f"{total_steps} steps of {feed.batch_size} on {step.accelerator.device}, "
        f"{settings.name} at a peak learning rate of {settings.lr:g}",
        f"trains {trained:,} of {parameters:,} parameters of the image encoder "
        f"({trained / parameters:.2%})",
    ]
    every = config.evaluate_every or feed.per_epoch
    if 0 < len(feed.held_out) < FEW_HELD_OUT and every < total_steps:
        lines.append(
            f"warning: {len(feed.held_out)} held-out images choose the model, too few to tell "
            "checkpoints apart: hold_out 0.2 holds out a fifth, 0 none and keeps the last model"
        )
    if model.unfinished:
        lines.append(f"warning: {model.name} is of a run at {model.unfinished}")
    if feed.batch_size < config.batch_size:
        lines.append(
            f"warning: a batch of {config.batch_size} is more than there is: a step is on "
            f"{feed.batch_size} of the {len(feed.train_set)} training images; batch_size 32 "
            "makes more steps of an epoch"
        )
    if warmup_steps != settings.warmup_steps:
        lines.append(
            f"warning: optimizer.warmup_steps {settings.warmup_steps} would outlast the run of "
            f"{total_steps} steps: it is {warmup_steps}, a tenth"
        )
    if done == total_steps:
        lines.append("this run is finished; nothing to do")
    elif done:
        lines.append(f"going on from step {done}")
    return lines
