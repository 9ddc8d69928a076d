"""Every format there is, in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zsrobust.errors import RequestError
from zsrobust.export import onnx_graph, open_clip_folder, tecoa_file, transformers_folder
from zsrobust.export.agreement import Theirs
from zsrobust.export.request import ExportRequest
from zsrobust.models.clip import CLIPModel


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        what: it is, in a line.
        library: the hub's word for the library that loads it; empty for none.
        how: how to load it, in Markdown.
        pixels: how images are prepared there, in a sentence for models that are not as CLIP.
        check: refuses, before anything is written, a model that it cannot hold.
        write: writes the files into a folder that is there; gives notes for card and terminal.
        load: what the folder computes, as its own library loads it.
    """

    what: str
    library: str
    how: str
    pixels: str
    check: Callable[[CLIPModel, ExportRequest], None]
    write: Callable[[CLIPModel, Path, ExportRequest], list[str]]
    load: Callable[[Path, CLIPModel], Theirs]


_TRANSFORM = (
    "The transform written here normalises so, but the library scales and crops photographs in its "
    "own way: give it images of the tower's size, or expect other numbers than the evaluation's."
)

FORMATS = {
    "open_clip": Format(
        "a folder that open_clip loads by local-dir: and hf-hub:",
        "open_clip",
        open_clip_folder.HOW,
        _TRANSFORM,
        open_clip_folder.check,
        open_clip_folder.write,
        open_clip_folder.load,
    ),
    "transformers": Format(
        "a folder of transformers' CLIPModel, whose vision tower LLaVA takes",
        "transformers",
        transformers_folder.HOW,
        _TRANSFORM,
        transformers_folder.check,
        transformers_folder.write,
        transformers_folder.load,
    ),
    "onnx": Format(
        "the image side as a graph, preprocessing inside; with --class_names a classifier",
        "",
        onnx_graph.HOW,
        "Normalisation, and the resize from the graph's input to the tower's, are in the graph.",
        onnx_graph.check,
        onnx_graph.write,
        onnx_graph.load,
    ),
    "tecoa": Format(
        "TeCoA's .pth.tar with vision_encoder_state_dict",
        "",
        tecoa_file.HOW,
        "The scripts that read this file prepare images in their own way: compare it.",
        tecoa_file.check,
        tecoa_file.write,
        tecoa_file.load,
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
