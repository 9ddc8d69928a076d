"""What an export format is, and how one is registered.

A format is a class in a module of its own in ``formats``, which is found there. Its module is
imported for ``--help`` and must not import torch: imports that do stand in its methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from zsrobust.export.request import ExportRequest
from zsrobust.utils.lazy import Tensor

if TYPE_CHECKING:
    from PIL import Image

    from zsrobust.models.clip import CLIPModel


@dataclass(frozen=True)
class Loaded:
    """What the written model computes, as its own library loads it.

    Attributes:
        images: 8-bit RGB pictures, N of one square size, to embeddings (N, dim).
        texts: prompts to embeddings (N, dim); None where the format has no text side.
        side: of the pictures, in pixels.
    """

    images: Callable[[list[Image.Image]], Tensor]
    texts: Callable[[list[str]], Tensor] | None
    side: int


class Format(ABC):
    """One format.

    Attributes:
        what: it is, in a line, for ``--help``.
        library: the hub's word for the library that loads it; empty for none.
        pixels: how images are prepared there, in a sentence for models that are not as CLIP.
        how: how to load it, in Markdown.
    """

    what: ClassVar[str]
    library: ClassVar[str] = ""
    pixels: ClassVar[str] = (
        "The transform written here normalises so, but the library scales and crops photographs in "
        "its own way: give it images of the tower's size, or expect other numbers than the "
        "evaluation's."
    )
    how: ClassVar[str]

    @abstractmethod
    def check(self, model: CLIPModel, request: ExportRequest) -> None:
        """Refuse, before anything is written, a model that the format cannot hold.

        Raises:
            RequestError: then, or if a library is missing.
        """

    @abstractmethod
    def write(self, model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
        """Write the files into an existing folder; returns notes for card and terminal."""

    @abstractmethod
    def load(self, folder: Path, model: CLIPModel) -> Loaded:
        """The folder as its own library loads it."""


FORMATS: dict[str, Format] = {}
"""Every format by its name after ``--to``; filled by ``zsrobust.export.formats``."""


def export_format(name: str) -> Callable[[type[Format]], type[Format]]:
    """Register a format under ``name``."""

    def register(form: type[Format]) -> type[Format]:
        FORMATS[name] = form()
        return form

    return register
