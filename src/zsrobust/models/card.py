"""The card of a model folder, ``model.json``: all of a model but its tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zsrobust.utils.errors import RequestError

CARD = "model.json"
TENSORS = "model.safetensors"
TEXT = "text.safetensors"
"""Only there where the text tower was fine-tuned, too."""
SCHEMA = 1
THEN = ", then "
"""Between the methods of a model that was fine-tuned again."""
# What a run adds of itself, none of it needed to load the model; and of what type it is.
RECORD: dict[str, type] = {
    "step": int,
    "total_steps": int,
    "finished": bool,
    "training_set": dict,
    "settings": dict,
    "held_out": dict,
    "start": dict,
}


def read_card(path: Path) -> dict[str, Any]:
    """The contents of a ``model.json``, its keys checked.

    Raises:
        RequestError: if the file is missing, no JSON, of another schema, or lacks a key.
    """
    try:
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as reason:
        raise RequestError(f"{path} cannot be read as JSON: {reason}") from reason
    if not isinstance(card, dict) or card.get("schema") != SCHEMA:
        raise RequestError(f'{path} must hold "schema": {SCHEMA}, as this version writes it')
    needed: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("source", "preprocessing", "method", "sha256"), str),
        **dict.fromkeys(("recipe", "loader_resize", "text"), str),
        **dict.fromkeys(("seen", "templates"), list),
        "logit_scale": (int, float),
    }
    for key, kind in needed.items():
        if not isinstance(card.get(key), kind):
            raise RequestError(f"{path} is damaged: {key!r} is missing or of the wrong type")
    for key, kind in RECORD.items():
        if key in card and not isinstance(card[key], kind):
            raise RequestError(f"{path} is damaged: {key!r} is of the wrong type")
    if "finished" in card and not {"step", "total_steps"} <= card.keys():
        raise RequestError(f"{path} is damaged: 'step' or 'total_steps' is missing")
    return card
