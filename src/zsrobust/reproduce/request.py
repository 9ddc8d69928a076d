"""``zsrobust reproduce``: from command-line words to a replication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zsrobust.config.parsing import parse_options
from zsrobust.reproduce.options import WORLDS, Options
from zsrobust.reproduce.world import glyphs, photos, photos_of
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import local_path

if TYPE_CHECKING:
    from zsrobust.reproduce.experiment import Experiment
    from zsrobust.reproduce.paper import Paper


@dataclass(frozen=True)
class Request:
    """A replication that was asked for.

    Attributes:
        experiment: what it consists of.
        compute: whether to run anything.
        plan: the paper's, to be told instead of run; None else.
    """

    experiment: Experiment
    compute: bool
    plan: Paper | None


def parse_reproduce(words: Sequence[str]) -> Request:
    """A replication from command-line words.

    Raises:
        RequestError: if a word or value is wrong, or data are missing.
    """
    if not words:
        raise RequestError(f"name what to reproduce: {', '.join(WORLDS)}")
    world, rest = words[0], list(words[1:])
    if world not in WORLDS:
        raise RequestError(f"there is no {world!r} to reproduce: choose {', '.join(WORLDS)}")
    folders = []
    while rest and not rest[0].startswith("-"):
        folders.append(rest.pop(0))
    needed = WORLDS[world]
    # The kept files of photographs are enough to show; what was run here is known by its data.
    optional = "--show" in rest and world == "photos" and not folders
    if len(folders) != needed and not optional:
        needs = "a folder of data sets" if needed else "no folder"
        given = " ".join(folders) or "none"
        raise RequestError(f"reproduce {world} takes {needs}, given: {given}")
    rest = [word.replace("--dry-run", "--dry_run") for word in rest]
    options = Options(
        **parse_options(Options, rest, command="reproduce", description="Does PMG-AFT beat TeCoA?")
    )
    out = local_path(options.out or f"runs/reproduce-{world}")
    if options.dry_run and world != "paper":
        raise RequestError(f"--dry-run is for paper: reproduce {world} needs no plan")
    return _request(world, [local_path(folder) for folder in folders], out, options)


def _request(world: str, folders: Sequence[Path], out: Path, options: Options) -> Request:
    # What is only shown was trained on files that need not be here.
    photographs = photos(folders[0]) if folders and world == "photos" else None
    from zsrobust.reproduce.field import Field
    from zsrobust.reproduce.methods import METHODS_FROM_GLYPHS
    from zsrobust.reproduce.paper import Paper
    from zsrobust.reproduce.searched import Searched

    if world == "paper":
        paper = Paper(folders[0], out)
        return Request(paper, not options.show, paper if options.dry_run else None)
    if world == "methods":
        return Request(Field(glyphs(), out), not options.show, None)
    if world == "glyphs":
        return Request(Searched(glyphs(), out), not options.show, None)
    if not folders and (out / "runs").is_dir():
        raise RequestError(
            f"{out} holds runs: name the folder of data sets that they were made with"
        )
    found = photographs or photos_of("tiny-imagenet", ["digits"])
    return Request(Searched(found, out, METHODS_FROM_GLYPHS), not options.show, None)
