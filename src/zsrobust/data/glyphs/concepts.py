"""What can be shown: kinds of things, their names, and the characters that show them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Concept:
    """One thing that an image can show.

    Attributes:
        name: as captions and class names write it: ``chess king``.
        kind: the kind it belongs to: ``chess piece``.
        characters: those that show it; empty for a drawn shape, whose name says how.
        training: whether it belongs to the fine-tuning set's classes, and so to no other set's.
    """

    name: str
    kind: str
    characters: str
    training: bool


@cache
def concepts() -> tuple[Concept, ...]:
    """Every concept of ``concepts.yaml``, in its order."""
    text = Path(__file__).with_name("concepts.yaml").read_text("utf-8")
    found: list[Concept] = []
    for kind, entry in yaml.safe_load(text).items():
        prefix = entry.get("prefix")
        for name, characters in _names(entry).items():
            found.append(
                Concept(
                    name=f"{prefix} {name}" if prefix else name,
                    kind=kind,
                    characters=characters,
                    training=entry.get("for") == "training",
                )
            )
    return tuple(found)


def indices_of(*kinds: str) -> tuple[int, ...]:
    """Where the concepts of these kinds stand in ``concepts()``."""
    return tuple(i for i, concept in enumerate(concepts()) if concept.kind in kinds)


def training_indices() -> tuple[int, ...]:
    """Where the fine-tuning set's concepts stand in ``concepts()``."""
    return tuple(i for i, concept in enumerate(concepts()) if concept.training)


def _names(entry: dict[str, Any]) -> dict[str, str]:
    if entry.get("drawn"):
        return dict.fromkeys(entry["names"], "")
    if "from" in entry:
        return {_unicode_name(letter, entry["without"]): letter for letter in entry["from"]}
    return {str(name): str(characters) for name, characters in entry["names"].items()}


def _unicode_name(letter: str, without: list[str]) -> str:
    words = unicodedata.name(letter).lower().replace("-", " ").split()
    return " ".join(word for word in words if word not in without)
