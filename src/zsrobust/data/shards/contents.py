"""What shards hold: a row a sample, and how it is written beside them or found in them."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from zsrobust.data.readers import IMAGE_SUFFIXES
from zsrobust.data.shards.tar_members import Member, tar_members
from zsrobust.utils.errors import RequestError

INDEX = "index.json"
SAMPLES = "samples.parquet"
SCHEMA = 1

# A label is a word or a few fields; more is no label, and is not read into memory.
_LABEL_BYTES = 1 << 20


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Attributes:
        name, samples, bytes: its name, and how many samples and bytes it holds.
        sha256: in hex, empty where it is not known.
        version: where the hash is not known, what changes when the file does; in no index.
    """

    name: str
    samples: int
    bytes: int
    sha256: str = ""
    version: str = ""


@dataclass(frozen=True)
class Index:
    """What our writer puts beside shards as ``index.json``.

    Attributes:
        name, split, class_names, templates, native_size, origin: as of an ``ImageSet``.
        shards: in order.
        samples_sha256: of ``samples.parquet``.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    native_size: int | None
    origin: str
    shards: tuple[Shard, ...]
    samples_sha256: str

    def to_json(self) -> str:
        """The text of the file."""
        fields = {"schema": SCHEMA, **asdict(self)}
        for shard in fields["shards"]:
            del shard["version"]
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Index:
        """The index that ``content`` holds.

        Raises:
            RequestError: if it is none of ours.
        """
        try:
            fields = json.loads(content)
            if fields.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
            names, templates = tuple(fields.pop("class_names")), tuple(fields.pop("templates"))
            index = cls(class_names=names, templates=templates, shards=shards, **fields)
            index._check()
            return index
        except (ValueError, TypeError, KeyError, AttributeError) as reason:
            raise RequestError(
                f"{where} is no index of shards ({reason}): write it with zsrobust data shard, or "
                "remove it"
            ) from None

    def _check(self) -> None:
        """An index may come from anywhere: names must not lead elsewhere, nor hashes be paths."""
        if not (self.shards and self.class_names and all(map(_is_text, self.class_names))):
            raise ValueError("no shards or class names")
        if not _is_text(self.split) or plain(self.split) != self.split:
            raise ValueError(f"the split {self.split!r}")
        if not _is_text(self.name) or not isinstance(self.origin, str):
            raise ValueError(f"the name {self.name!r} or the origin {self.origin!r}")
        side = self.native_size
        if side is not None and (type(side) is not int or side < 1):
            raise ValueError(f"the native size {side!r}")
        if not all(_is_text(template) and "{}" in template for template in self.templates):
            raise ValueError(f"the templates {self.templates!r}")
        for shard in self.shards:
            if not _is_text(shard.name) or {"/", "\\"} & set(shard.name) or shard.name[0] == ".":
                raise ValueError(f"the shard's name {shard.name!r}")
            if not re.fullmatch("[0-9a-f]{64}", shard.sha256):
                raise ValueError(f"the SHA-256 of {shard.name}")
            if type(shard.bytes) is not int or shard.bytes < 0:
                raise ValueError(f"the bytes of {shard.name}")


def plain(split: str) -> str:
    """``split`` where it is fit to begin a file's name, else the nearest that is.

    A split may be any text, even a path, as it stands in a list of files from anywhere.
    """
    return re.sub(r"^\.|[^\w.-]", "_", split)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


@dataclass
class Rows:
    """Columns of equal length, a row a sample, in the order of the shards.

    Attributes:
        ids: of the samples.
        labels: as words where they come from foreign shards, else as numbers in words.
        shard: number of the shard.
        offset, size: of the image's bytes in the shard.
    """

    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    shard: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    def to_parquet(self) -> bytes:
        """The file ``samples.parquet``."""
        found = io.BytesIO()
        pq.write_table(pa.table(vars(self)), found, compression="zstd")
        return found.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, index: Index, where: str) -> Rows:
        """The rows of ``samples.parquet``, which must be the one that ``index`` was written with.

        Raises:
            RequestError: if it is not.
        """
        if hashlib.sha256(content).hexdigest() != index.samples_sha256:
            raise RequestError(f"{where} is not the file that {INDEX} was written with: copy both")
        rows = cls.of_parquet(content)
        if not set(rows.shard) <= set(range(len(index.shards))):
            raise RequestError(f"{where} names shards that {INDEX} does not: write both anew")
        return rows

    @classmethod
    def of_parquet(cls, content: bytes) -> Rows:
        """The rows of a file that ``to_parquet`` wrote."""
        return cls(**pq.read_table(io.BytesIO(content)).to_pydict())


@dataclass(frozen=True)
class Fields:
    """Which members of a foreign sample are meant.

    Attributes:
        image: extension of its image; None for the only one that is an image's.
        label: field of its ``.json`` that holds the label; None for its ``.cls``, else the field
            ``label`` of its ``.json``.
    """

    image: str | None = None
    label: str | None = None


def read_rows(file: BinaryIO, path: str | Path, name: str, fields: Fields) -> Rows:
    """The samples of the tar file ``path``, open as ``file``, found by its headers.

    As in WebDataset, the members of a sample are alike up to the first dot of the file name; the
    rest is the extension. Ids are ``<name of the shard>/<key>``; the shard is number 0.

    Raises:
        RequestError: naming the member, if a sample lacks its image or label, or has one twice.
    """
    samples: dict[str, dict[str, Member]] = {}
    for member in tar_members(file, path):
        folder, base = posixpath.split(member.name)
        stem, _, extension = base.partition(".")
        members = samples.setdefault(posixpath.join(folder, stem), {})
        if extension.lower() in members:
            raise RequestError(f"{path} holds {member.name!r} twice: write it once")
        members[extension.lower()] = member
    rows = Rows()
    for key, members in samples.items():
        where = f"{path} sample {key!r}"
        image = _image(members, where, fields.image)
        rows.ids.append(f"{name}/{key}")
        rows.labels.append(_label(file, members, where, fields.label))
        rows.shard.append(0)
        rows.offset.append(image.offset)
        rows.size.append(image.size)
    if not samples:
        raise RequestError(f"{path} holds no samples")
    return rows


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows, one part after the other."""
    columns = vars(Rows())
    return Rows(**{name: [v for part in parts for v in getattr(part, name)] for name in columns})


def _image(members: dict[str, Member], where: str, wanted: str | None) -> Member:
    if wanted:
        found = [extension for extension in members if extension == wanted.lower().lstrip(".")]
    else:
        found = [extension for extension in members if f".{extension}" in IMAGE_SUFFIXES]
    if len(found) == 1:
        return members[found[0]]
    what = f"{len(found)} images" if found else "no image" + (f" .{wanted}" if wanted else "")
    raise RequestError(
        f"{where} has {what} ({', '.join(members)}): name the one meant with image=EXTENSION"
    )


def _label(file: BinaryIO, members: dict[str, Member], where: str, wanted: str | None) -> str:
    if wanted is None and "cls" in members:
        return _text(file, members["cls"], where).strip()
    if "json" not in members:
        raise RequestError(f"{where} has no label: it needs a member .cls, or .json with label")
    try:
        found: Any = json.loads(_text(file, members["json"], where))
        value = found[wanted or "label"]
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f"{where} has a .json without the field {wanted or 'label'!r}: name the one meant "
            "with label=FIELD"
        ) from None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RequestError(f"{where} has the label {value!r}: it must be a number or a word")
    return str(value)


def _text(file: BinaryIO, member: Member, where: str) -> str:
    if member.size > _LABEL_BYTES:
        raise RequestError(f"{where} has a label of {member.size:,} bytes: it is none")
    file.seek(member.offset)
    try:
        return file.read(member.size).decode("utf-8")
    except UnicodeDecodeError:
        raise RequestError(f"{where} has a label that is not UTF-8") from None
