"""Presets of class names and templates, ``prompts=...`` in a data specification.

``paper``         our cleaned names in the templates of PMG-AFT's script; the default
``authors_code``  the script's names too, with their duplicates, cut-off and misspelled words
``clip``          our names in OpenAI's ensembles
``plain``         our names in the model's default template

The names of ``authors_code`` are read from the script's ``utils.refine_classname`` and the
``clip_prompts`` of its torchvision classes, and left as they are to reproduce its numbers. The
prefix of four characters is that of Caltech-256's folders, but is cut from Caltech-101's too
(``accordion`` is ``rdion``); their ``-101`` is left on. ImageNet's names are the first WordNet
lemma, so that two classes are ``crane``, two ``maillot`` and two ``cardigan``. A car loses its
year, and with it what tells it from another. ``Tthis`` is the script's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import (
    IMAGENET_FAMILY,
    clean_name,
    names_by_spelling,
    published_spellings,
    tiny_imagenet_names,
)
from zsrobust.data.published.sets import published_sets
from zsrobust.utils.errors import RequestError

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
        names = _authors_names(kind, spelled)
        # PatchCamelyon's prompts are whole sentences in the script.
        return replace(images, class_names=names, templates=("{}",) if kind == "pcam" else own)
    return replace(images, templates=() if preset == "plain" else templates(preset, kind))


def prompts_of(images: ImageSet, asked: Sequence[str] | None = None) -> tuple[str, ...] | None:
    """The templates for a set: those ``asked`` for, else its own; None for the model's default."""
    return expand_templates(asked) if asked else images.templates or None


def expand_templates(asked: Sequence[str]) -> tuple[str, ...]:
    """The templates themselves, where ``single`` or ``ensemble`` alone stands for them.

    ``single`` is the template of TeCoA's and PMG-AFT's scripts, ``ensemble`` are OpenAI's 80 for
    ImageNet (Radford et al., 2021).
    """
    if list(asked) == ["single"]:
        return (AUTHORS_TEMPLATE,)
    return _ensemble() if list(asked) == ["ensemble"] else tuple(asked)


def _ensemble() -> tuple[str, ...]:
    import open_clip

    return tuple(fill("{}") for fill in open_clip.OPENAI_IMAGENET_TEMPLATES)


def templates(preset: str, kind: str) -> tuple[str, ...]:
    """The templates of ``paper`` or ``clip`` for a set; empty for the model's default."""
    known = published_sets()[kind]
    if preset == "paper":
        return (known.paper_template,) if known.paper_template else ()
    if kind in IMAGENET_FAMILY or kind == "tiny-imagenet":
        return _ensemble()
    return known.clip_templates


def _spelled(images: ImageSet, kind: str) -> Sequence[str]:
    """The published spelling of each of the set's classes, in label order."""
    if kind in ("cifar10", "cifar100"):
        return images.class_names
    if kind == "tiny-imagenet":
        spelling = {name: wnid for wnid, name in tiny_imagenet_names().items()}
    else:
        by_name = {name: text for text, name in names_by_spelling(kind).items()}
        as_published = {clean_name(text): text for text in published_spellings(kind)}
        spelling = {name: as_published[text] for name, text in by_name.items()}
    return [spelling[name] for name in images.class_names]


_EUROSAT = {
    "AnnualCrop": "annual crop land",
    "Forest": "a forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "a highway or a road",
    "Industrial": "industrial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings",
    "River": "a river",
    "SeaLake": "a sea or a lake",
}
_PCAM = {
    "0": "Tthis is a photo of healthy lymph node tissue.",
    "1": "This is a photo of lymph node tumor tissue.",
}
# Spellings of the list in its flowers102.py, two of them with a space at the end.
_FLOWERS = {"colt's foot": "colts foot", "cyclamen": "cyclamen ", "hippeastrum": "hippeastrum "}


def _authors_names(kind: str, spelled: Sequence[str]) -> tuple[str, ...]:
    """The script's names of classes given in the set's own spelling, in label order.

    Raises:
        RequestError: if the script's names of that set are not known here.
    """
    if kind in ("tiny-imagenet", "imagenet"):
        return tuple(_refined(lemma) for lemma in _first_lemmas(spelled))
    if kind not in _RULES:
        raise RequestError(
            f"prompts=authors_code is not known for {kind}: it is for {', '.join(_KNOWN)}"
        )
    return tuple(_RULES[kind](text) for text in spelled)


def _refined(name: str) -> str:
    """What ``utils.refine_classname`` makes of a name."""
    return _prompted(name).replace("/", " ")


def _prompted(name: str) -> str:
    """What the script's own data-set classes make of a name in ``clip_prompts``."""
    return name.lower().replace("_", " ").replace("-", " ")


def _first_lemmas(wnids: Sequence[str]) -> list[str]:
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo()
    return [info.label_name_to_description(wnid).split(",")[0] for wnid in wnids]


def _aircraft(name: str) -> str:
    return (f"Boeing {name}" if name[0] == "7" else name).lower().replace("_", " ")


_RULES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("cifar10", "cifar100", "stl10", "sun397"), _refined),
    **dict.fromkeys(("food101", "oxford-pets", "dtd"), _prompted),
    "flowers102": lambda name: _prompted(_FLOWERS.get(name, name)),
    "eurosat": _EUROSAT.__getitem__,
    "fgvc-aircraft": _aircraft,
    "caltech101": lambda name: _prompted(name[4:].replace("-101", "")).strip(),
    "caltech256": lambda name: _prompted(name[4:].replace("-256", "")).strip(),
    "stanford-cars": lambda name: _prompted(name[:-5]),
    "pcam": _PCAM.__getitem__,
}
_KNOWN = ("tiny-imagenet", "imagenet", *_RULES)
