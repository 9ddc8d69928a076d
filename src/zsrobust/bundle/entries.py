"""Verified bundles as entries of a leaderboard: one JSON file a bundle, in a folder of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from zsrobust.bundle.archive import as_json
from zsrobust.bundle.verify import Verified
from zsrobust.evaluation.comparison.merge import ModelResults, split_by_model
from zsrobust.reporting.inputs import ENTRY, ENTRY_FORMAT, read_entries
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import write_text


def add_entry(found: Verified, folder: Path, rechecked: str = "") -> Path:
    """Write the results of a verified bundle to a new file in ``folder``, and return its path.

    Args:
        found: of the bundle.
        folder: of the leaderboard; made if it is not there.
        rechecked: what a model's answers were compared with, as a sentence; empty for nothing.

    Raises:
        RequestError: if the bundle contradicts itself, is not fit for a leaderboard, or the
            leaderboard has its models already.
    """
    if found.contradictions:
        raise RequestError(f"{found.archive.name} contradicts itself: it is not added")
    if found.unfit:
        raise RequestError(f"{found.archive.name} is not added: {'; '.join(found.unfit)}")
    _refuse_duplicate(found, folder)
    entry = {
        "entry": ENTRY_FORMAT,
        "bundle": found.archive.sha256,
        "rechecked": rechecked,
        "request": found.archive.manifest["request"],
        "results": json.loads(found.archive.results),
    }
    name = re.sub(r"[^\w.-]+", "-", found.run.tuned[0]).strip("-.")[:60]
    path = folder / f"{name}-{found.archive.sha256[:8]}{ENTRY}"
    try:
        write_text(path, as_json(entry).decode())
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}") from None
    return path


def _refuse_duplicate(found: Verified, folder: Path) -> None:
    """Refuse a bundle with a fine-tuned model that is there; originals come with many."""
    there = [
        (run.folder.name, model)
        for run in read_entries(folder)
        for model in split_by_model(str(run.folder), run.results)
    ]
    known = []
    for model in split_by_model("", found.run.results):
        if model.model in found.run.tuned:
            known += [name for name, other in there if _is_same(model, other)]
    if known:
        raise RequestError(
            f"{found.archive.name} is not added: {known[0]} has the same weights under the same "
            "attack on the same data"
        )


def _is_same(model: ModelResults, other: ModelResults) -> bool:
    """Whether both are the same classifier, measured the same way somewhere, whatever its name."""
    mine, theirs = (dict(one.results.protocol["models"][one.model]) for one in (model, other))
    for label in ("method", "recipe", "source", "seen", "unfinished", "code"):
        mine.pop(label, None)
        theirs.pop(label, None)
    return mine == theirs and model.is_comparable(other)
