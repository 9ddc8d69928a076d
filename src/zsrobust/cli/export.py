"""``zsrobust export`` and ``zsrobust push``: from words to what is printed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from zsrobust.config.word_parser import WordParser
from zsrobust.export.folder import read_mark, require_free
from zsrobust.export.formats import FORMATS
from zsrobust.export.push import push
from zsrobust.export.request import ExportRequest, class_names_from
from zsrobust.models.names import check_name
from zsrobust.utils.files import local_path

if TYPE_CHECKING:
    from zsrobust.export.command import Exported

Say = Callable[[str], None]


def export_parser() -> WordParser:
    """The options of ``zsrobust export``."""
    parser = WordParser(
        prog="zsrobust export",
        description="Write a model in another library's format, load it there, and compare.",
    )
    parser.add_argument("model", metavar="RUN", help="a run folder, or anything --model takes")
    formats = "; ".join(f"{name}: {form.what}" for name, form in FORMATS.items())
    parser.add_argument("--to", required=True, choices=FORMATS, help=formats)
    parser.add_argument("--out", metavar="DIR", help="a new folder (exports/RUN-FORMAT)")
    parser.add_argument(
        "--results", metavar="EVAL_RUN", help="an evaluation whose results go into the card"
    )
    parser.add_argument(
        "--class_names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="onnx: write a classifier of these too; or one file with a name a line",
    )
    parser.add_argument(
        "--templates", nargs="+", metavar="TEXT", help="onnx: its prompts, {} for the class name"
    )
    parser.add_argument(
        "--resolution", type=int, metavar="PIXELS", help="onnx: side of the images it takes"
    )
    parser.add_switch("--unfinished", help="export a run that has not finished, as it is now")
    parser.add_switch("--overwrite", help="replace an earlier export")
    return parser


def push_parser() -> WordParser:
    """The options of ``zsrobust push``."""
    parser = WordParser(
        prog="zsrobust push", description="Upload an exported folder to the Hugging Face hub."
    )
    parser.add_argument(
        "folder", type=local_path, metavar="FOLDER", help="what zsrobust export wrote"
    )
    parser.add_argument("repository", metavar="REPO_ID", help="ORG/NAME, made if need be")
    parser.add_switch("--private", help="make it private, if it is new")
    return parser


def run_export(words: Sequence[str], show: Say, warn: Say) -> dict[str, Any]:
    """Export as ``words`` say; ``show`` and ``warn`` print a line. Figures for machines come back.

    Raises:
        RequestError: if the words are wrong, or the model cannot be exported so.
        RunError: if the export fails.
    """
    given = vars(export_parser().parse_args(list(words)))
    given["class_names"] = class_names_from(given["class_names"])
    given["templates"] = tuple(given["templates"]) if given["templates"] else None
    request = ExportRequest(**given)
    require_free(request.folder, overwrite=request.overwrite)
    check_name(request.model)
    from zsrobust.export.command import export

    done = export(request)
    if done.unfinished:
        warn(f"warning: this is of a fine-tuning at {done.unfinished}")
    if done.warning:
        warn(f"WARNING: {done.warning}")
    for note in done.notes:
        warn(note)
    for line in _lines(done):
        show(line)
    return {**asdict(done), "folder": str(done.folder)}


def run_push(words: Sequence[str], show: Say, warn: Say) -> dict[str, Any]:
    """Push as ``words`` say; ``show`` and ``warn`` print a line. Figures for machines come back.

    Raises:
        RequestError: if the words are wrong, or the folder is no export.
        RunError: if the hub cannot be reached, or refuses.
    """
    given = push_parser().parse_args(list(words))
    if unfinished := read_mark(given.folder).get("unfinished"):
        warn(f"warning: {given.folder} is of a fine-tuning at {unfinished}")
    address = push(given.folder, given.repository, private=given.private)
    show(f"{given.folder} is at {address}")
    return {"folder": str(given.folder), "address": address}


def _lines(done: Exported) -> list[str]:
    return [
        f"{done.title} is in {done.folder}, for {done.to}: {', '.join(done.files)}",
        f"loaded there, its embeddings differ by {done.largest_difference:.1g} at most; "
        f"{done.folder / 'README.md'} says how to load it",
    ]
