"""The class names that PMG-AFT's script makes, kept as they are to reproduce its numbers.

Read from its ``utils.refine_classname`` and its torchvision classes. The prefix of four characters
is that of Caltech-256's folders, but is cut from Caltech-101's too (``accordion`` is ``rdion``);
their ``-101`` is left on. ImageNet's names are the first WordNet lemma, so that two classes are
``crane``, two ``maillot`` and two ``cardigan``. A car loses its year, and with it what tells it
from another. ``Tthis`` is the script's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zsrobust.utils.errors import RequestError

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


def authors_names(kind: str, spelled: Sequence[str]) -> tuple[str, ...]:
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
    return name.lower().replace("_", " ").replace("-", " ").replace("/", " ")


def _first_lemmas(wnids: Sequence[str]) -> list[str]:
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo()
    return [info.label_name_to_description(wnid).split(",")[0] for wnid in wnids]


def _aircraft(name: str) -> str:
    return (f"Boeing {name}" if name[0] == "7" else name).lower().replace("_", " ")


_RULES: dict[str, Callable[[str], str]] = {
    **dict.fromkeys(("cifar10", "cifar100", "stl10", "sun397"), _refined),
    **dict.fromkeys(("food101", "oxford-pets", "dtd"), _refined),
    "flowers102": lambda name: _refined(_FLOWERS.get(name, name)),
    "eurosat": _EUROSAT.__getitem__,
    "fgvc-aircraft": _aircraft,
    "caltech101": lambda name: _refined(name[4:].replace("-101", "")).strip(),
    "caltech256": lambda name: _refined(name[4:].replace("-256", "")).strip(),
    "stanford-cars": lambda name: _refined(name[:-5]),
    "pcam": _PCAM.__getitem__,
}
_KNOWN = ("tiny-imagenet", "imagenet", *_RULES)
