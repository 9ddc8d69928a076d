"""Every format there is, in one table."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zsrobust.export.request import ExportRequest
from zsrobust.utils.errors import RequestError

if TYPE_CHECKING:
    from zsrobust.export.agreement import Theirs
    from zsrobust.models.clip import CLIPModel


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        what: it is, in a line.
        library: the hub's word for the library that loads it; empty for none.
        pixels: how images are prepared there, in a sentence for models that are not as CLIP.
        module: of this package, with ``HOW``, ``check``, ``write`` and ``load``; imported when the
            first of them is used, for it imports torch.
    """

    what: str
    library: str
    pixels: str
    module: str

    @property
    def _module(self) -> Any:
        return import_module(f"zsrobust.export.{self.module}")

    @property
    def how(self) -> str:
        """How to load it, in Markdown."""
        return str(self._module.HOW)

    def check(self, model: CLIPModel, request: ExportRequest) -> None:
        """Refuse, before anything is written, a model that it cannot hold.

        Raises:
            RequestError: then.
        """
        self._module.check(model, request)

    def write(self, model: CLIPModel, folder: Path, request: ExportRequest) -> list[str]:
        """Write the files into a folder that is there; gives notes for card and terminal."""
        notes: list[str] = self._module.write(model, folder, request)
        return notes

    def load(self, folder: Path, model: CLIPModel) -> Theirs:
        """What the folder computes, as its own library loads it."""
        theirs: Theirs = self._module.load(folder, model)
        return theirs


_TRANSFORM = (
    "The transform written here normalises so, but the library scales and crops photographs in its "
    "own way: give it images of the tower's size, or expect other numbers than the evaluation's."
)

FORMATS = {
    "open_clip": Format(
        "a folder that open_clip loads by local-dir: and hf-hub:",
        "open_clip",
        _TRANSFORM,
        "open_clip_folder",
    ),
    "transformers": Format(
        "a folder of transformers' CLIPModel, whose vision tower LLaVA takes",
        "transformers",
        _TRANSFORM,
        "transformers_folder",
    ),
    "onnx": Format(
        "the image side as a graph, preprocessing inside; with --class_names a classifier",
        "",
        "Normalisation, and the resize from the graph's input to the tower's, are in the graph.",
        "onnx_graph",
    ),
    "tecoa": Format(
        "TeCoA's .pth.tar with vision_encoder_state_dict",
        "",
        "The scripts that read this file prepare images in their own way: compare it.",
        "tecoa_file",
    ),
}


def format_named(name: str) -> Format:
    """The format called ``name``.

    Raises:
        RequestError: if there is none.
    """
    if name not in FORMATS:
        raise RequestError(f"there is no format {name!r}: choose {', '.join(FORMATS)}")
    return FORMATS[name]
