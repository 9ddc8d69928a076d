"""What ``model.json`` tells of the run that made a model, besides the model itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zsrobust.attacks import PGD
from zsrobust.config.schema import FinetuneConfig, to_plain
from zsrobust.training.feed import Feed
from zsrobust.training.held_out import HeldOut
from zsrobust.utils.units import Eps, format_radius

# What of a configuration tells how a model was made, and nothing about the machine.
SETTINGS = (
    *("method", "objective", "attack", "optimizer", "adapter"),
    *("ema", "epochs", "steps", "batch_size", "precision", "attack_precision", "compile"),
    *("batch_norm", "preprocessing", "loader_resize", "templates", "hold_out", "seed"),
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
        found: accuracies there, in [0, 1].
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
    return {
        "training_set": {"name": trained.name, "split": trained.split, "n": len(trained)},
        "settings": settings,
        "held_out": {
            **asdict(found),
            "n": len(feed.held_out),
            "attack": described(selection_attack),
        },
    }


def described(attack: PGD) -> str:
    """An attack and its radius: ``pgd-10 at 1/255``, ``pgd-10 at l2 0.5``."""
    return f"{attack.name} at {format_radius(attack.threat.norm, attack.threat.eps)}"


def content_hash(content: object) -> str:
    """SHA-256 of what JSON can hold."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
