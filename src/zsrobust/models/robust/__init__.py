"""Robust image towers that ship with the package: model folders, each with its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zsrobust.utils.errors import RequestError

if TYPE_CHECKING:
    from zsrobust.models.clip import CLIPModel

ROBUST = {
    "glyph-clip-robust": "glyph-clip",
    "photo-lite-robust": "photo-lite",
}
"""Their originals by their names, which are those of their folders here, too."""


def load_robust(name: str, load: Callable[[str], CLIPModel]) -> CLIPModel:
    """The model of that name; its weights are stored in fp16 and computed with in fp32.

    Args:
        name: one of ``ROBUST``.
        load: what loads its original.

    Raises:
        RequestError: if its files are damaged, or its original is not to be had.
    """
    from zsrobust.models.weights import load_model_folder

    original = load(ROBUST[name])
    try:
        folder = Path(__file__).parent / name
        return replace(load_model_folder(folder, lambda _: original), name=name)
    except RequestError as reason:
        raise RequestError(f"{name} is damaged ({reason}): install zsrobust again") from None
