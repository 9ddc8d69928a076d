"""What ``model.json`` tells of the run that made a model, besides the model itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import nn

from zsrobust.attacks import PGD
from zsrobust.config.schema import FinetuneConfig, to_plain
from zsrobust.models.card import THEN
from zsrobust.models.clip import CLIPModel
from zsrobust.models.weights import fingerprint
from zsrobust.training.feed import Feed
from zsrobust.training.held_out import HeldOut
from zsrobust.training.step import TrainingStep
from zsrobust.utils import own_code
from zsrobust.utils.units import Eps, format_radius

# What of a configuration tells how a model was made, and nothing about the machine.
SETTINGS = (
    *("method", "objective", "attack", "optimizer", "adapter"),
    *("ema", "epochs", "steps", "batch_size", "precision", "attack_precision", "compile"),
    *("batch_norm", "preprocessing", "loader_resize", "templates", "prompts"),
    *("hold_out", "drop_last", "seed"),
)
OF_THE_ATTACK = ("attack", "attack_precision")


def settings_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a ``config.yaml`` that tells how a model was made; what is null is left out."""
    given = {key: request[key] for key in SETTINGS if request.get(key) is not None}
    if "steps" in given:
        given.pop("epochs", None)
    return given


def run_record(
    config: FinetuneConfig, feed: Feed, warmup_steps: int, selection_attack: PGD, found: HeldOut
) -> dict[str, Any]:
    """What the run trained on and how, and what its model scored on held-out images.

    Args:
        config: of the run.
        feed: its images.
        warmup_steps: those that it took, which may be fewer than the configuration asks for.
        selection_attack: on held-out images.
        found: accuracies there, in [0, 1]; of no images where none are held out.
    """
    settings = settings_of(to_plain(config))
    settings |= {"batch_size": feed.batch_size}
    settings["optimizer"]["warmup_steps"] = warmup_steps
    attack = config.attack
    if attack.step_size is None:
        settings["attack"]["step_size"] = str(Eps(2.5 * attack.eps / attack.steps))
    if config.objective is not None and not config.objective.needs.attack:
        settings = {key: value for key, value in settings.items() if key not in OF_THE_ATTACK}
    trained = feed.train_set
    held_out = {**asdict(found), "attack": described(selection_attack)}
    return {
        "training_set": {"name": trained.name, "split": trained.split, "n": len(trained)},
        "settings": settings,
        "held_out": held_out if found.n else {},
    }


def start_of(name: str, method: str, original: nn.Module) -> dict[str, dict[str, str]]:
    """The fine-tuned model that a run began from, under ``start``; nothing for an original.

    Args:
        name: of the model that the run began from.
        method: of the run's model, which tells that of its start.
        original: the encoder before the first step.
    """
    before = method.rpartition(THEN)[0]
    if not before:
        return {}
    return {"start": {"name": name, "method": before, "weights": fingerprint(original)}}


def described(attack: PGD) -> str:
    """An attack and its radius: ``pgd-10 at 1/255``, ``pgd-10 at l2 0.5``."""
    return f"{attack.name} at {format_radius(attack.threat.norm, attack.threat.eps)}"


def hashes_of_inputs(feed: Feed, model: CLIPModel, step: TrainingStep) -> dict[str, str]:
    """Hashes of what a resumed run must find again: images, original, prompts, own code."""
    sets = [[list(part.sample_ids), list(part.labels)] for part in (feed.train_set, feed.held_out)]
    classifier = step.classifier
    # Not the vectors, whose last bits differ between processors: a run may move to another.
    prompts = [
        *(model.text.fingerprint, classifier.templates, classifier.class_names),
        *step.objective.prompts(feed.train_set.class_names),
    ]
    return {
        "images": content_hash(sets),
        "original": fingerprint(step.original),
        "prompts": content_hash(prompts),
        **({} if step.proxy is None else {"proxy": fingerprint(step.proxy.encoder)}),
        # Of a method of the user's own.
        **own_code.described(type(step.objective)),
    }


def content_hash(content: object) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
