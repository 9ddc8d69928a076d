"""List the models that have a name here: the embedded ones, and public robust CLIPs.

A zoo: model is downloaded when it is first used; the list itself needs no network. --model takes
many more: any CLIP of open_clip and transformers, the hub, checkpoints, fine-tuned models.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.models.zoo import RADII, Entry, entries, entry_of

CLAIMED = (
    "clean, 1/255, 2/255, 4/255: accuracy in per cent as the model's authors print it, an average "
    "over their data sets under their attack; zsrobust models NAME shows both"
)

LEAST_FIRST = ("licence", "architecture", "px", "method", "1/255", "2/255", "eps", "4/255", "clean")


def parsers() -> list[Parser]:
    """One model, or none for all."""
    parser = Parser(
        prog="zsrobust models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "entry", nargs="?", metavar="NAME", help="show everything known of this model"
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Print the list, or one entry."""
    [parser] = parsers()
    name = parser.parse_args(argv).entry
    if name is None:
        output.show_list(
            _columns(list(entries().values())), figures=("clean", *RADII), drop=LEAST_FIRST
        )
        output.show(CLAIMED)
        output.result({"models": [entry.as_dict() for entry in entries().values()]})
        return
    entry = entry_of(name)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for key, value in _lines(entry):
        table.add_row(key, Text(value))
    output.show(entry.name)
    output.show(table)
    output.result(entry.as_dict())


def _columns(models: Sequence[Entry]) -> dict[str, list[str]]:
    return {
        "model": [one.name for one in models],
        "architecture": [one.architecture for one in models],
        "px": [str(one.px) for one in models],
        "method": [one.method for one in models],
        "eps": [one.eps for one in models],
        "licence": [one.licence for one in models],
        "clean": [one.claimed[0] for one in models],
        **{radius: [one.claimed[1 + at] for one in models] for at, radius in enumerate(RADII)},
    }


def _lines(entry: Entry) -> Iterator[tuple[str, str]]:
    yield "architecture", f"{entry.architecture}, {entry.px} px"
    yield "method", entry.method
    yield "eps", entry.eps
    yield "trained on", ", ".join(entry.trained_on)
    if entry.base:
        yield "fine-tuned from", f"{entry.base}, whose text encoder it has"
    if entry.load != entry.name:
        yield "loads", entry.load
    yield "licence", entry.licence
    for key in ("paper", "card", "note"):
        if value := getattr(entry, key):
            yield key, value
    if claims := entry.claims:
        yield "claims", str(claims)
        yield "data sets", ", ".join(claims.over)
        yield "attack", claims.attack
        yield "printed in", claims.source
    else:
        yield "claims", "not stated"
    yield "use", f"zsrobust evaluate --model {entry.name} --data DATA"
