"""A folder written by ``save_to_disk`` of Hugging Face's ``datasets``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from zsrobust.data.class_labels import ClassLabels, class_labels, numbered
from zsrobust.data.image_set import ImageSet
from zsrobust.data.names import clean_name, spelling
from zsrobust.data.names.codes import code_notes
from zsrobust.data.names.name_file import name_rows, read_names
from zsrobust.data.readers import decoded
from zsrobust.data.specification import Specification, choose_split
from zsrobust.utils.errors import RequestError

LAYOUT = "a folder that save_to_disk of a datasets.Dataset or DatasetDict wrote"


@dataclass(frozen=True)
class RowReader:
    """Reads the images of a ``datasets.Dataset`` whose column ``column`` is not decoded."""

    rows: Any
    column: str

    def __call__(self, index: int) -> Image.Image:
        """The image as stored."""
        return decoded(self.encoded(index))

    def encoded(self, index: int) -> bytes:
        """The stored bytes, from the table or from the file that it points to."""
        stored = self.rows[index][self.column]
        if not stored:
            raise ValueError("the row has no image")
        return stored["bytes"] or Path(stored["path"]).read_bytes()


def huggingface(asked: Specification, role: str) -> ImageSet:
    """The rows of the folder ``asked.place``, ids being row numbers.

    The image column is the one whose feature is an ``Image``, the label column the one whose
    feature is a ``ClassLabel``; ``image=`` and ``label=`` name others. Class names are the
    feature's, cleaned, or come from ``names=``, joined to the feature's as ``read_names`` joins
    them to folders; labels that are no ``ClassLabel`` are as ``class_labels`` takes them.

    Raises:
        RequestError: if ``datasets`` is not installed, the folder is not its own, its splits do
            not fit together, a column cannot be found or holds something else, or a label is out
            of range.
    """
    root = Path(asked.place).expanduser()
    rows, split = _opened(root, asked, role)
    image = _column(rows, asked, "image", "Image")
    label = _column(rows, asked, "label", "ClassLabel")
    _refuse_other_labels(rows.features[label], label, asked)
    # A missing label becomes an empty text, so that it is refused and names no class "none".
    values = ["" if value is None else str(value) for value in rows[label]]
    classes = _classes(rows.features[label], values, asked)
    return ImageSet(
        name=root.resolve().name,
        split=split,
        class_names=classes.names,
        sample_ids=tuple(str(index) for index in range(len(rows))),
        labels=tuple(classes.label(v, f"{root} row {i}") for i, v in enumerate(values)),
        read_image=RowReader(_undecoded(rows, image, asked), image),
        origin=str(root.resolve()),
        notes=classes.notes,
        stamp=_stamp(rows),
    )


def _opened(root: Path, asked: Specification, role: str) -> tuple[Any, str]:
    """The rows of the split, and its name."""
    try:
        from datasets import DatasetDict, concatenate_datasets, load_from_disk
    except ImportError:
        raise RequestError(
            f"data {asked.text!r} needs datasets: pip install 'zsrobust[huggingface]'"
        ) from None
    if not root.is_dir():
        raise RequestError(f"data {asked.text!r} names no folder ({root}): give {LAYOUT}")
    try:
        stored = load_from_disk(str(root))
    # Whatever datasets or pyarrow meet in a foreign or broken folder.
    except Exception as reason:
        detail = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise RequestError(f"cannot open {root} ({detail}): give {LAYOUT}") from None
    if isinstance(stored, DatasetDict):
        split = choose_split(asked, role, list(stored))
        whole = split == "all" and "all" not in stored
        if not whole:
            return stored[split], split
        try:
            return concatenate_datasets(list(stored.values())), split
        except ValueError:
            raise RequestError(
                f"the splits of {root} differ in columns or classes ({', '.join(stored)}): "
                "choose one with split=NAME"
            ) from None
    if asked.split not in (None, "all"):
        raise RequestError(f"data {asked.text!r} has no split {asked.split!r}: it has all")
    return stored, "all"


def _column(rows: Any, asked: Specification, role: str, feature: str) -> str:
    """The column asked for as ``role``, or the only one of ``feature``."""
    wanted: str | None = getattr(asked, role)
    if wanted is not None:
        if wanted not in rows.features:
            raise RequestError(
                f"data {asked.text!r} has no column {wanted!r}: it has {', '.join(rows.features)}"
            )
        return wanted
    kinds = {name: type(kind).__name__ for name, kind in rows.features.items()}
    found: list[str] = [name for name, kind in kinds.items() if kind == feature]
    if len(found) != 1:
        raise RequestError(
            f"data {asked.text!r} has {len(found) or 'no'} columns of type {feature}: name the "
            f"one meant with {role}=COLUMN, of {', '.join(rows.features)}"
        )
    return found[0]


def _refuse_other_labels(feature: Any, column: str, asked: Specification) -> None:
    """Fractions, pictures and the like would be taken for names of classes."""
    from datasets import ClassLabel, Value

    kind = feature.dtype if isinstance(feature, Value) else type(feature).__name__
    whole = isinstance(feature, Value) and kind.lstrip("u").startswith("int")
    if not (isinstance(feature, ClassLabel) or whole or kind in ("string", "large_string")):
        raise RequestError(
            f"the labels of {asked.text!r} in column {column!r} are of type {kind}: "
            "ClassLabel, whole numbers and strings can be labels"
        )


def _undecoded(rows: Any, column: str, asked: Specification) -> Any:
    """The images alone, as stored."""
    from datasets import Image as ImageFeature
    from pyarrow import ArrowException

    try:
        return rows.select_columns([column]).cast_column(column, ImageFeature(decode=False))
    except (ArrowException, TypeError, ValueError):
        raise RequestError(
            f"column {column!r} of {asked.text!r} holds no images: name another with image=COLUMN"
        ) from None


def _classes(feature: Any, values: Sequence[str], asked: Specification) -> ClassLabels:
    own: list[str] | None = getattr(feature, "names", None)
    if not own or (asked.names and _by_label(asked.names, own)):
        return class_labels(values, asked.names, asked.place)
    notes: list[str] = []
    if asked.names:
        names = read_names(asked.names, own, notes.append, f"classes of {asked.place}")
        notes += code_notes(names, str(asked.names), chosen=True)
        return replace(numbered(names, asked.place), notes=tuple(notes))
    cleaned = tuple(clean_name(name) for name in own)
    if len(set(map(spelling, own))) < len(own) or "" in cleaned:
        raise RequestError(
            f"two class names of {asked.place} are the same or one is empty once cleaned: "
            "tell them apart with names=FILE"
        )
    notes += code_notes(cleaned, asked.place, chosen=False)
    return replace(numbered(cleaned, asked.place), notes=tuple(notes))


def _by_label(names: Path, own: Sequence[str]) -> bool:
    """Whether the class-name file has labels before its tabs, and not the set's own names."""
    return any(word and word not in own for _, word, _ in name_rows(names))


def _stamp(rows: Any) -> str:
    """Hash of what ``datasets`` knows the content by, and of its files' sizes and times."""
    digest = hashlib.blake2b(rows._fingerprint.encode(), digest_size=20)
    for file in rows.cache_files:
        status = Path(file["filename"]).stat()
        digest.update(f"\0{file['filename']}\0{status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()
