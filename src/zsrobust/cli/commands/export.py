"""Write a model for open_clip, transformers, ONNX or TeCoA's scripts.

The export is loaded with the target library, and its embeddings are compared with ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.export.folder import require_free
from zsrobust.export.formats import FORMATS
from zsrobust.export.request import ExportRequest, class_names_from
from zsrobust.models.names import check_name


def parsers() -> list[Parser]:
    """The options of ``ExportRequest``."""
    parser = Parser(prog="zsrobust export", description=__doc__)
    parser.add_argument("model", metavar="RUN", help="run folder, or anything --model takes")
    formats = "; ".join(f"{name}: {form.what}" for name, form in FORMATS.items())
    parser.add_argument("--to", required=True, choices=FORMATS, help=formats)
    parser.add_argument("--out", metavar="DIR", help="output folder (exports/RUN-FORMAT)")
    parser.add_argument(
        "--results", metavar="EVAL_RUN", help="evaluation whose results go into the model card"
    )
    parser.add_argument(
        "--class_names",
        nargs="+",
        default=[],
        metavar="NAME",
        help="onnx: also export a classifier of these classes; or a file with one name per line",
    )
    parser.add_argument(
        "--templates",
        nargs="+",
        metavar="TEXT",
        help="onnx: prompts of the classifier, {} for the class name",
    )
    parser.add_argument("--resolution", type=int, metavar="PIXELS", help="onnx: input resolution")
    parser.add_switch("--unfinished", help="export an unfinished run")
    parser.add_switch("--overwrite", help="replace an earlier export")
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Export, and say where it is and how far its embeddings are from ours."""
    [parser] = parsers()
    args = vars(parser.parse_args(argv))
    args["class_names"] = class_names_from(args["class_names"])
    args["templates"] = tuple(args["templates"]) if args["templates"] else None
    request = ExportRequest(**args)
    require_free(request.folder, overwrite=request.overwrite)
    check_name(request.model)
    from zsrobust.export.command import export

    done = export(request)
    if done.unfinished:
        output.warn(f"warning: the fine-tuning is at {done.unfinished}")
    if done.warning:
        output.warn(f"WARNING: {done.warning}")
    for note in done.notes:
        output.warn(note)
    output.show(f"{done.title} is in {done.folder}, for {done.to}: {', '.join(done.files)}")
    output.show(
        f"loaded there, its embeddings differ by {done.largest_difference:.1g} at most; "
        f"{done.folder / 'README.md'} says how to load it"
    )
    output.result(asdict(done))
