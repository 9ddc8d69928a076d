"""Presets of class names and templates, ``prompts=...`` in a data specification.

``paper``         our cleaned names in the templates of PMG-AFT's script; the default
``authors_code``  the script's names too, with their duplicates, cut-off and misspelled words
``clip``          our names in OpenAI's ensembles
``plain``         our names in the model's default template
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from typing import Any

import yaml

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import clean_name
from zsrobust.data.published.authors_names import authors_names
from zsrobust.data.published.class_names import (
    IMAGENET_FAMILY,
    names_by_spelling,
    published_spellings,
)

PROMPTS = ("paper", "authors_code", "clip", "plain")
AUTHORS_TEMPLATE = "This is a photo of a {}"


def with_prompts(images: ImageSet, kind: str, preset: str) -> ImageSet:
    """The set with the names and templates of a preset in ``PROMPTS``.

    Raises:
        RequestError: if PMG-AFT's script has no such set.
    """
    if preset == "authors_code":
        spelled = _spelled(images, kind)
        own = templates("paper", kind) or (AUTHORS_TEMPLATE,)
        names = authors_names(kind, spelled)
        # PatchCamelyon's prompts are whole sentences in the script.
        return replace(images, class_names=names, templates=("{}",) if kind == "pcam" else own)
    return replace(images, templates=() if preset == "plain" else templates(preset, kind))


def templates(preset: str, kind: str) -> tuple[str, ...]:
    """The templates of ``paper`` or ``clip`` for a set; empty for the model's default."""
    if preset == "clip" and (kind in IMAGENET_FAMILY or kind == "tiny-imagenet"):
        import open_clip

        return tuple(fill("{}") for fill in open_clip.OPENAI_IMAGENET_TEMPLATES)
    return _read(preset).get(kind, ())


@functools.cache
def _read(preset: str) -> dict[str, tuple[str, ...]]:
    text = resources.files("zsrobust.data.templates").joinpath(f"{preset}.yaml").read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return {kind: tuple(listed) for kind, listed in found.items()}


def _spelled(images: ImageSet, kind: str) -> Sequence[str]:
    """The published spelling of each of the set's classes, in label order."""
    if kind in ("cifar10", "cifar100"):
        return images.class_names
    if kind == "tiny-imagenet":
        from zsrobust.data.names import tiny_imagenet_names

        spelling = {name: wnid for wnid, name in tiny_imagenet_names().items()}
    else:
        by_name = {name: text for text, name in names_by_spelling(kind).items()}
        as_published = {clean_name(text): text for text in published_spellings(kind)}
        spelling = {name: as_published[text] for name, text in by_name.items()}
    return [spelling[name] for name in images.class_names]
