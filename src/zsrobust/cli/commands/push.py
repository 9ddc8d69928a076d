"""Upload an exported model to the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.export.folder import read_mark
from zsrobust.export.push import push
from zsrobust.utils.files import local_path


def parsers() -> list[Parser]:
    """An exported folder, and where it goes."""
    parser = Parser(prog="zsrobust push", description=__doc__)
    parser.add_argument(
        "folder", type=local_path, metavar="FOLDER", help="folder that zsrobust export wrote"
    )
    parser.add_argument(
        "repository", metavar="REPO_ID", help="ORG/NAME; created if it does not exist"
    )
    parser.add_switch("--private", help="create it as private")
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Upload, and print the address."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    if unfinished := read_mark(args.folder).get("unfinished"):
        output.warn(f"warning: fine-tuning of {args.folder} is at {unfinished}")
    address = push(args.folder, args.repository, private=args.private)
    output.show(f"{args.folder} is at {address}")
    output.result({"folder": args.folder, "address": address})
