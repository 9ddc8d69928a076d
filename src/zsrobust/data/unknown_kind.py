"""What was probably meant by a data specification without one of the kinds."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from zsrobust.data.published.sets import published_sets
from zsrobust.data.specification import Specification, exists, split_options
from zsrobust.utils.errors import RequestError
from zsrobust.utils.validation import nearest

_HUGGING_FACE = ("dataset_dict.json", "dataset_info.json", "state.json")


def unknown_kind(parsed: Specification, kinds: Sequence[str]) -> RequestError:
    """The error for a specification whose kind is none of ``kinds``, with one to write instead."""
    head, options = split_options(parsed.text)
    _, colon, place = head.partition(":")
    kind = _kind_at(head)
    if kind:
        meant = shlex.quote(f"{kind}:{head}{options}")
        return RequestError(f"data {parsed.text!r} names no kind of data: write {meant}")
    meant = _nearest(parsed.kind, kinds)
    if not meant and _looks_like_a_path(head):
        # What has a suffix is no folder.
        path = "FOLDER" if Path(head).suffix else head
        what = (
            "is a file, but no table or shard: unpack it if it is an archive, and"
            if exists(head)
            else "names no kind of data, and no folder, table or shard is called so:"
        )
        return RequestError(
            f"data {parsed.text!r} {what} write KIND:PATH, such as "
            f"{shlex.quote(f'imagefolder:{path}')}"
        )
    if meant:
        whole = shlex.quote(f"{meant}{colon}{place}{options}")
        return RequestError(f"there is no data {parsed.text!r}: did you mean {whole}?")
    return RequestError(
        f"data {parsed.text!r} has the unknown kind {parsed.kind!r}: the kinds are "
        f"{', '.join(kinds)}"
    )


def _kind_at(place: str) -> str:
    """The kind of the data that is at ``place``; empty if none can be read there."""
    if place.endswith(".tar") or re.search(r"://|\{\d+\.\.\d+\}", place):
        return "webdataset"
    try:
        path = Path(place).expanduser()
        if place and path.is_dir():
            return _kind_of_folder(path)
        if path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".txt"):
            return "csv"
    # No file can be called so, there is no such user, or it may not be looked at.
    except (OSError, ValueError, RuntimeError):
        pass
    return ""


def _kind_of_folder(folder: Path) -> str:
    def holds(*names: str) -> bool:
        return all((folder / name).exists() for name in names)

    if any(map(holds, _HUGGING_FACE)):
        return "huggingface"
    if holds("index.json", "samples.parquet") or any(folder.glob("*.tar")):
        return "webdataset"
    if holds("wnids.txt", "val"):
        return "tiny-imagenet"
    for kind, name in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        if folder.name == name or holds(name):
            return kind
    published = (
        known.kind for known in published_sets().values() if known.locate(folder, by_name=True)
    )
    return next(published, "imagefolder")


def _looks_like_a_path(text: str) -> bool:
    return bool(re.search(r"^[.~]|^[^:]*[/\\]|^[A-Za-z]:[/\\]|^[^:]+\.\w+$", text))


def _nearest(kind: str, kinds: Sequence[str]) -> str:
    """The kind that ``kind`` is probably a misspelling of; empty if none."""
    plain = {_letters(known): known for known in kinds}
    return plain[near] if (near := nearest(_letters(kind), plain)) else ""


def _letters(kind: str) -> str:
    return re.sub(r"[\W_]", "", kind.lower())
